"""Which kernel reads on a device, in which tiles, and how that is said and recorded."""

import logging
import subprocess
import sys

import pytest
import torch
from readout_cases import at_positions, make_parts

from slm_lens.readout._device import TILE_BYTES, kernel_for, tile_size
from slm_lens.readout._result import stacked
from slm_lens.readout.read_out import read_out
from slm_lens.readout.unembedding import Unembedding, _full_precision

NO_SUCH_GPU = torch.device("cuda", 99)


@pytest.fixture
def fresh():
    """No choice is remembered, before or after."""
    kernel_for.cache_clear()
    yield
    kernel_for.cache_clear()


def test_tiles_are_large_on_a_gpu_and_no_larger_than_is_said():
    on_cpu, on_gpu = tile_size(torch.device("cpu")), tile_size(NO_SUCH_GPU)
    assert on_cpu == (512, 1024)
    assert on_gpu.rows >= 4 * on_cpu.rows
    assert on_gpu.columns >= 4 * on_cpu.columns
    assert 4 * on_gpu.rows * on_gpu.columns == TILE_BYTES == 128 * 2**20


@pytest.mark.usefixtures("fresh")
class TestChoice:
    def test_a_cpu_takes_tiles_without_a_word(self, caplog):
        with caplog.at_level(logging.DEBUG):
            assert kernel_for(torch.device("cpu")) == "tiled"
        assert not caplog.records

    def test_a_gpu_that_cannot_run_the_kernel_is_read_by_tiles_and_that_is_said_once(self, caplog):
        for _ in range(3):
            assert kernel_for(NO_SUCH_GPU) == "tiled"
        (record,) = caplog.records
        assert (record.name, record.levelname) == ("slm_lens.readout", "WARNING")
        said = record.getMessage()
        assert said.startswith("readout: reads on cuda:99 without its Triton kernel, which is slow")
        assert "(kernel 'tiled'): " in said

    def test_without_triton_it_says_what_to_install(self, caplog, monkeypatch):
        monkeypatch.setitem(sys.modules, "triton", None)
        assert kernel_for(NO_SUCH_GPU) == "tiled"
        (record,) = caplog.records
        assert "triton is not installed: pip install triton" in record.getMessage()

    def test_a_triton_that_does_not_import_is_named(self, caplog, monkeypatch, tmp_path):
        for name in [n for n in sys.modules if n == "triton" or n.startswith("triton.")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.delitem(sys.modules, "slm_lens.readout._self_check", raising=False)
        (tmp_path / "triton").mkdir()
        (tmp_path / "triton" / "__init__.py").write_text("raise ImportError('libcuda is missing')")
        monkeypatch.syspath_prepend(str(tmp_path))
        assert kernel_for(NO_SUCH_GPU) == "tiled"
        (record,) = caplog.records
        assert "triton cannot be imported (libcuda is missing)" in record.getMessage()


@pytest.fixture
def small():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(40, 6, generator=generator).bfloat16()
    return (
        torch.randn(2, 3, 6, generator=generator),
        Unembedding(weight),
        make_parts([0, 1, 2, 3] * 10),
    )


def test_a_readout_says_how_it_was_read(small):
    states, unembedding, parts = small
    read = read_out(states, unembedding, parts, at_positions({"mass"}))["position"]
    assert (read.kernel, read.product_dtype) == ("tiled", "float32")
    both = stacked([read, read])
    assert (both.kernel, both.product_dtype) == ("tiled", "float32")


def test_the_kernel_without_triton_is_refused(small, monkeypatch):
    states, unembedding, parts = small
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(ImportError, match=r"readout: kernel='triton' needs triton: pip install"):
        read_out(states, unembedding, parts, at_positions({"mass"}), kernel="triton")


def test_reading_on_a_cpu_imports_no_kernel():
    code = (
        "import sys, torch; from slm_lens import LogitLens; "
        "from slm_lens.readout import read_out; "
        "print(sorted(set(sys.modules) & {'slm_lens.readout._triton', 'slm_lens.readout._cuda'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_half_precision_is_multiplied_in_float32_on_a_cpu(small):
    states, unembedding, _ = small
    rows = states[0].bfloat16().float()
    assert unembedding.as_multiplied(rows, rows[:1])[0] is rows


def test_no_product_goes_by_tf32_and_settings_come_back():
    settings = torch.backends.cuda.matmul
    name = "fp32_precision" if hasattr(settings, "fp32_precision") else "allow_tf32"
    before = getattr(settings, name)
    chosen, exact = ("tf32", "ieee") if name == "fp32_precision" else (True, False)
    setattr(settings, name, chosen)
    try:
        with pytest.raises(LookupError, match="within"), _full_precision():  # noqa: PT012
            assert getattr(settings, name) == exact
            raise LookupError("within")
        assert getattr(settings, name) == chosen
    finally:
        setattr(settings, name, before)
