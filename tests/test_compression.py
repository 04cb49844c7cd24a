"""Gzip and zlib streams: nothing damaged is accepted, nothing is kept that is too much."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from nnunet_multitask.compression import check_gzip, check_zlib, gunzip, gunzip_start, take_memory, write_gzip
from nnunet_multitask.errors import InputError

PATH = Path("a.nii.gz")
CONTENT = np.random.default_rng(0).normal(40, 9, 400).astype(np.int16).tobytes()


def test_whole_streams() -> None:
    assert gunzip(gzip.compress(CONTENT), len(CONTENT), PATH).tobytes() == CONTENT
    members = gzip.compress(CONTENT[:300]) + gzip.compress(b"") + gzip.compress(CONTENT[300:])
    assert gunzip(members, len(CONTENT), PATH).tobytes() == CONTENT
    assert gunzip(gzip.compress(CONTENT) + b"\0" * 512, len(CONTENT), PATH).tobytes() == CONTENT  # padded, as tar does
    assert gunzip_start(gzip.compress(CONTENT), 10, PATH) == CONTENT[:10]
    assert gunzip_start(gzip.compress(b"abc"), 10, PATH) == b"abc"
    check_gzip(members, len(CONTENT), PATH)
    check_zlib(zlib.compress(CONTENT), len(CONTENT), PATH)


def test_every_flipped_bit_is_found_or_changes_nothing() -> None:
    raw = gzip.compress(CONTENT, mtime=0)
    refused = 0
    for position in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[position // 8] ^= 1 << position % 8
        try:
            content = gunzip(bytes(damaged), len(CONTENT), PATH)
        except InputError:
            refused += 1
        else:
            assert content.tobytes() == CONTENT  # the time in the gzip header, say
    assert refused > 0.98 * 8 * len(raw)


def test_every_cut_is_found() -> None:
    raw = gzip.compress(CONTENT, mtime=0)
    two = gzip.compress(CONTENT[:300], mtime=0) + gzip.compress(CONTENT[300:], mtime=0)
    for whole in (raw, two):
        for length in range(4, len(whole)):
            with pytest.raises(InputError, match=r"\[(damaged-gzip|truncated-file)\] a\.nii\.gz"):
                gunzip(whole[:length], len(CONTENT), PATH)
    packed = zlib.compress(CONTENT)
    for length in range(len(packed)):
        with pytest.raises(InputError, match=r"\[damaged-gzip\]"):
            check_zlib(packed[:length], len(CONTENT), PATH)


def test_flipped_bits_of_zlib_streams_are_found() -> None:
    raw = zlib.compress(CONTENT)
    for position in range(16, 8 * len(raw)):
        damaged = bytearray(raw)
        damaged[position // 8] ^= 1 << position % 8
        if _content_or_none(bytes(damaged)) != CONTENT:
            with pytest.raises(InputError):
                check_zlib(bytes(damaged), len(CONTENT), PATH)


def _content_or_none(raw: bytes) -> bytes | None:
    try:
        return zlib.decompress(raw)
    except zlib.error:
        return None


@pytest.mark.parametrize("tail", [b"x", b"garbage", b"\x1f\x8b", b"\0\0x"])
def test_what_follows_the_stream_must_be_a_stream(tail: bytes) -> None:
    with pytest.raises(InputError, match=r"\[damaged-gzip\]"):
        gunzip(gzip.compress(CONTENT) + tail, len(CONTENT), PATH)


def test_other_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"\[truncated-file\] .*expected 801 bytes by its header, got 800"):
        gunzip(gzip.compress(CONTENT), 801, PATH)
    with pytest.raises(InputError, match=r"\[oversized-file\] .*expected 799 bytes by its header, got more"):
        gunzip(gzip.compress(CONTENT), 799, PATH)
    with pytest.raises(InputError, match=r"\[truncated-file\] .*got 800"):
        check_zlib(zlib.compress(CONTENT), 801, PATH)
    with pytest.raises(InputError, match=r"\[oversized-file\]"):
        check_zlib(zlib.compress(CONTENT), 799, PATH)


def test_neither_header_nor_stream_takes_memory_by_its_word() -> None:
    endless = gzip.compress(bytes(60_000_000), compresslevel=1)
    endless_zlib = zlib.compress(bytes(60_000_000), 1)
    lying = gzip.compress(CONTENT)[:-4] + (10**9).to_bytes(4, "little")
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"\[oversized-file\]"):
            gunzip(endless, 1000, PATH)
        with pytest.raises(InputError, match=r"\[truncated-file\]"):
            gunzip(gzip.compress(CONTENT), 32767**3 * 2, PATH)
        with pytest.raises(InputError, match=r"\[damaged-gzip\]"):
            gunzip(lying, 10**9, PATH)
        with pytest.raises(InputError, match=r"\[oversized-file\]"):
            check_zlib(endless_zlib, 1000, PATH)
        with pytest.raises(InputError, match=r"\[oversized-file\]"):
            check_gzip(endless, 1000, PATH)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_more_than_the_memory_holds() -> None:
    with pytest.raises(InputError, match=r"\[too-large\] a\.nii\.gz: expected an image that fits into memory"):
        take_memory(2**62, PATH)


def test_written_streams_are_read_by_others_and_depend_on_the_content_only() -> None:
    parts = [b"head", memoryview(np.arange(500_000, dtype=np.int32)), b""]
    first, second = io.BytesIO(), io.BytesIO()
    write_gzip(parts, first)
    write_gzip(parts, second)
    assert gzip.decompress(first.getvalue()) == b"head" + np.arange(500_000, dtype=np.int32).tobytes()
    assert first.getvalue() == second.getvalue()
