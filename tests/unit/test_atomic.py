"""A file is there in full or not at all, whatever ends its writing."""

import pytest

from slm_lens._atomic import folder_written_atomically, write_atomically, written_atomically


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, SystemExit])
@pytest.mark.parametrize("earlier", [None, "earlier"])
def test_an_interrupted_file_leaves_the_earlier_one_or_none(tmp_path, error, earlier):
    path = tmp_path / "table.json"
    if earlier is not None:
        path.write_text(earlier)

    def write(part):
        part.write_text("half of")
        raise error

    with pytest.raises(error):
        write_atomically(path, write)
    assert [p.name for p in tmp_path.iterdir()] == ([] if earlier is None else ["table.json"])
    if earlier is not None:
        assert path.read_text() == earlier


def test_nothing_is_at_the_place_before_the_end(tmp_path):
    path = tmp_path / "deep" / "table.json"
    with written_atomically(path) as part:
        part.write_text("all of it")
        assert not path.exists()
        assert part.parent == path.parent
        assert part.suffix == ".json"
    assert [p.name for p in path.parent.iterdir()] == ["table.json"]
    assert path.read_text() == "all of it"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_folder_leaves_nothing(tmp_path, error):
    path = tmp_path / "model"

    def write():
        with folder_written_atomically(path) as part:
            (part / "config.json").write_text("{}")
            assert not path.exists()
            raise error

    with pytest.raises(error):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("empty_before", [True, False])
def test_a_whole_folder_takes_its_place(tmp_path, empty_before):
    path = tmp_path / "deep" / "model"
    if empty_before:
        path.mkdir(parents=True)
    with folder_written_atomically(path) as part:
        (part / "config.json").write_text("{}")
    assert [p.name for p in path.parent.iterdir()] == ["model"]
    assert [p.name for p in path.iterdir()] == ["config.json"]
