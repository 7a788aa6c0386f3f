"""A PyTorch file is read as data: the tensors of torch.load, and nothing executed, whatever the file contains."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from soundmark.errors import WeightsError
from soundmark.models.pretrained.pytorch_file import read_tensors


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A state dict with the types and shapes that occur, two of whose tensors share their numbers."""
    torch.manual_seed(0)
    shared = torch.randn(40)
    tensors = {
        "weight": torch.randn(3, 4, 5),
        "half": torch.randn(7).half(),
        "double": torch.randn(2, 2).double(),
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "part": shared[10:30].view(4, 5),
        "whole": shared,
        "parameter": torch.nn.Parameter(torch.randn(2)).data,
    }
    torch.save(OrderedDict(tensors), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def assert_equal_to_torch(path: Path) -> None:
    expected = torch.load(path, map_location="cpu", weights_only=True)
    found = read_tensors(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.numpy().dtype, name
        np.testing.assert_array_equal(found[name], tensor.numpy(), err_msg=name)


def test_the_tensors_are_those_of_torch(saved: Path) -> None:
    assert_equal_to_torch(saved)


def test_the_state_dict_of_a_module_with_its_versions_is_read(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    torch.save(module.state_dict(), tmp_path / "module.pt")
    assert_equal_to_torch(tmp_path / "module.pt")


def test_the_released_weights_are_read(mn04_weights: Path) -> None:
    assert_equal_to_torch(mn04_weights)


def rewritten(path: Path, change: dict[str, bytes | None], **options: int) -> Path:
    """Write the archive again, with some members replaced, added or (None) removed."""
    with zipfile.ZipFile(path) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    folder = next(iter(members)).split("/")[0]
    members.update(
        {f"{folder}/{name}" if not name.startswith("/") else name[1:]: data for name, data in change.items()}
    )
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            if data is not None:
                archive.writestr(name, data)
    return path


class _Executes:
    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.mark,)


def assert_refused(path: Path, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason) as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_executes_something_is_refused(saved: Path, tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "executed"
    assert_refused(
        rewritten(saved, {"data.pkl": pickle.dumps(_Executes(str(mark)), protocol)}), "which a state dict has not"
    )
    assert not mark.exists()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (b"\x80\x02cos\nsystem\n.", "names 'os.system'"),
        (b"\x80\x02cbuiltins\neval\n(X\x03\x00\x00\x001+1tR.", "names 'builtins.eval'"),
        (b"\x80\x02ctorch\nload\n.", "names 'torch.load'"),
        (b"\x80\x02ccollections\nOrderedDict\n(i__main__\nf\n.", "instruction INST"),
        (b"\x80\x02}(X\x01\x00\x00\x00a](K\x01e.", "instruction EMPTY_LIST"),
        (b"\x80\x02}h\x07.", "is damaged"),
        (b"\x80\x02t.", "is damaged"),
        (b"\x80\x02K\x01.", "does not contain a state dict"),
        (b"\x80\x02}}.", "is not a PyTorch file"),
        (b"\x80\x02}X\x01\x00\x00\x00aK\x01s.", "'a' is not a tensor"),
        (b"\x80\x02}X\xff\xff\xff\x7fab.", "is not a PyTorch file"),
        (b"\x80\x02" + b"}" * 1000, "is not a PyTorch file"),
        (b"", "is not a PyTorch file"),
        (b"\xff\xfe", "is not a PyTorch file"),
    ],
)
def test_programs_other_than_a_state_dict_are_refused(saved: Path, program: bytes, reason: str) -> None:
    assert_refused(rewritten(saved, {"data.pkl": program}), reason)


def test_members_that_a_state_dict_has_not_are_refused(saved: Path) -> None:
    for name in ("/../../etc/passwd", "/archive/code.py", "data/../data.pkl", "data/x", "/C:\\weights"):
        with zipfile.ZipFile(saved) as archive:
            kept = saved.with_name("changed.pt")
            kept.write_bytes(saved.read_bytes())
            assert archive
        assert_refused(rewritten(kept, {name: b"x"}), "it has the member")


def test_compressed_members_and_missing_numbers_are_refused(saved: Path) -> None:
    for change, options, reason in (
        ({"data/0": bytes(1 << 20)}, {"compression": zipfile.ZIP_DEFLATED}, "is compressed"),
        ({"data/0": b"123"}, {}, "the numbers of 'weight' are missing"),
        ({"data/0": None}, {}, "the numbers of 'weight' are missing"),
        ({"data.pkl": None}, {}, "has no list of tensors"),
        ({"byteorder": b"big"}, {}, "its byte order is not little"),
    ):
        kept = saved.with_name("changed.pt")
        kept.write_bytes(saved.read_bytes())
        assert_refused(rewritten(kept, change, **options), reason)


def test_a_transposed_tensor_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.randn(3, 4).T}, tmp_path / "weights.pt")
    assert_refused(tmp_path / "weights.pt", "'weight' are not in order")


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "weights.pt").open("wb") as file:
        file.truncate(1 << 40)  # takes no space on disk
    assert_refused(tmp_path / "weights.pt", "at most 512 MiB are read")


def test_files_that_are_missing_or_no_archive_are_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.pt", "cannot be read: No such file")
    assert_refused(tmp_path, "cannot be read")
    (tmp_path / "old.pt").write_bytes(pickle.dumps({}))
    assert_refused(tmp_path / "old.pt", "File is not a zip file")


def assert_read_or_refused(path: Path) -> None:
    found, message = {}, ""
    try:
        found = read_tensors(path)
    except WeightsError as error:
        message = str(error)
    assert all(isinstance(tensor, np.ndarray) for tensor in found.values())
    assert "\n" not in message


@pytest.mark.parametrize("seed", range(60))
def test_changed_bytes_end_in_an_error_or_in_tensors(saved: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(saved.read_bytes())
    for _ in range(random.integers(1, 20)):
        data[random.integers(len(data))] = random.integers(256)
    saved.write_bytes(data[: random.integers(len(data))] if seed % 3 == 0 else data)
    assert_read_or_refused(saved)


@pytest.mark.parametrize("seed", range(200))
def test_changed_programs_end_in_an_error_or_in_tensors(saved: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    with zipfile.ZipFile(saved) as archive:
        program = bytearray(archive.read("weights/data.pkl"))
    for _ in range(random.integers(1, 6)):
        at = int(random.integers(len(program)))
        program[at : at + int(random.integers(0, 3))] = random.bytes(int(random.integers(0, 3)))
    assert_read_or_refused(rewritten(saved, {"data.pkl": bytes(program)}))
