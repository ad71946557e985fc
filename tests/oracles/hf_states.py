"""Raw hidden states of a Hugging Face model, for `numpy_recall`. Does not import slm_lens."""

import numpy as np
import torch


def raw_states(model, tokens):
    """Input of the first decoder layer and output of each, ``[layer, pos, d_model]``.

    Taken with forward hooks on the layers themselves: the last entry of Hugging Face's
    ``hidden_states`` has the final norm applied already.
    """
    seen = []

    def before(_module, args):
        seen.append(args[0])

    def after(_module, _args, output):
        seen.append(output[0] if isinstance(output, tuple) else output)

    layers = model.model.layers
    handles = [layers[0].register_forward_pre_hook(before)]
    handles += [layer.register_forward_hook(after) for layer in layers]
    try:
        with torch.no_grad():
            model(tokens[None])
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat(seen).float().numpy()


def save(path, model, text_rows, utterances):
    """Write what `numpy_recall` reads.

    ``utterances``: for each, ``tokens`` and a list of words ``(start, end, current ids, next ids,
    counts in current recall, counts in next recall)``.
    """
    text = np.zeros(model.config.vocab_size, dtype=bool)
    text[list(text_rows)] = True
    arrays = {
        "ln_weight": model.model.norm.weight.detach().double().numpy(),
        "ln_eps": np.array(model.model.norm.variance_epsilon),
        "W_U": model.lm_head.weight.detach().double().numpy(),
        "text": text,
    }
    for u, (tokens, words) in enumerate(utterances):
        arrays[f"states_{u}"] = raw_states(model, tokens)
        arrays[f"spans_{u}"] = np.array([w[:2] for w in words], dtype=int).reshape(-1, 2)
        for i, target in ((2, "current"), (3, "next")):
            widest = max([1, *(len(w[i]) for w in words)])
            rows = [[*w[i], *[-1] * (widest - len(w[i]))] for w in words]
            arrays[f"{target}_{u}"] = np.array(rows, dtype=int).reshape(-1, widest)
            arrays[f"counts_{target}_{u}"] = np.array([w[i + 2] for w in words], dtype=bool)
    np.savez(path, **arrays)


def words_to_count(spoken, token_ids, function_words):
    """The words of one utterance, by the rules of the recall written out once more.

    ``spoken``: ``(word, start, end, is speech)`` of all words, in order. A word enters the
    current-word recall if it is spoken, has a position and a token, and is a content word. Its
    follower enters the next-word recall, read at the word's positions, if that is a content word
    with a token, none of which is a token of the word itself.
    """
    rows = []
    for i, (word, start, end, is_speech) in enumerate(spoken):
        if not is_speech or start == end:
            continue
        current = token_ids(word)
        follower = spoken[i + 1][0] if i + 1 < len(spoken) else None
        following = [] if follower is None else token_ids(follower)
        counts_next = (
            follower is not None
            and follower not in function_words
            and len(following) > 0
            and not set(current) & set(following)
        )
        counts_current = word not in function_words and len(current) > 0
        rows.append((start, end, current, following, counts_current, counts_next))
    return rows
