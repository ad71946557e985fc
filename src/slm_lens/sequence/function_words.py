"""Closed-class words of English: the words that almost any context predicts.

A model that has heard nothing still guesses "the" well, so recall over all words flatters it.
Phases are therefore read over *content* words, and control words are drawn from the same class.

Source: the closed classes of Quirk, Greenbaum, Leech and Svartvik 1985, "A Comprehensive Grammar
of the English Language", chapter 2 (determiners, pronouns, prepositions, conjunctions,
auxiliaries), with the negative and infinitive particles; the listing is ours.
"""

import string

_DETERMINERS = """
a an the this that these those each every either neither some any no all both half much many
more most few fewer little less least several enough such what whatever which whichever another
other
"""
_PRONOUNS = """
i me my mine myself you your yours yourself yourselves he him his himself she her hers herself
it its itself we us our ours ourselves they them their theirs themselves one oneself who whom
whose whoever whomever someone somebody something anyone anybody anything everyone everybody
everything nobody nothing none there
"""
_PREPOSITIONS = """
about above across after against along amid among around as at before behind below beneath
beside besides between beyond by despite down during except for from in inside into like near of
off on onto out outside over past per since than through throughout till to toward towards under
underneath until unto up upon via with within without
"""
_CONJUNCTIONS = """
and but or nor so yet if because although though unless whereas while whether when whenever
where wherever how why lest once
"""
_AUXILIARIES = """
am is are was were be been being do does did done doing have has had having can could may might
must shall should will would ought
"""
_CONTRACTIONS = """
i'm you're he's she's it's we're they're i've you've we've they've i'd you'd he'd she'd we'd
they'd i'll you'll he'll she'll we'll they'll isn't aren't wasn't weren't don't doesn't didn't
haven't hasn't hadn't can't cannot couldn't mustn't shan't shouldn't won't wouldn't that's
there's who's what's let's
"""
_PARTICLES = "not"

ENGLISH_FUNCTION_WORDS: frozenset[str] = frozenset(
    " ".join(
        (
            _DETERMINERS,
            _PRONOUNS,
            _PREPOSITIONS,
            _CONJUNCTIONS,
            _AUXILIARIES,
            _CONTRACTIONS,
            _PARTICLES,
        )
    ).split()
)


def word_type(word: str) -> str:
    """The form under which a word is counted and classed.

    Args:
        word: a word as written, perhaps with punctuation at its ends.

    Returns:
        The word in lower case without surrounding spaces and ASCII punctuation.

    Source:
        Ours.
    """
    return word.strip(string.whitespace + string.punctuation).lower()
