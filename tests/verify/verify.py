#!/usr/bin/env python3
"""Checks a Tollgate lake, or the proof of one record, without Tollgate.

Written from docs/proof.md ("the page" below) and the documents it refers to, and from nothing else: that is its worth.
Needs `cryptography` and `pyarrow`. See README.md beside it for the command line.
"""
from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import secrets
import sys
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, Callable, Iterable, NamedTuple, Optional, Sequence
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# ---------------------------------------------------------------- CBOR: page "Commitments", RFC 8949 §3 and §4.2.1

NULL, FALSE, TRUE = b"\xf6", b"\xf4", b"\xf5"


def head(major: int, n: int) -> bytes:
    """The initial byte and argument of a data item, in the shortest form."""
    if n < 24:
        return bytes((major << 5 | n,))
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if n >> (8 * size) == 0:
            return bytes((major << 5 | info,)) + n.to_bytes(size, "big")
    raise ValueError(f"{n} does not fit a CBOR argument")


def cbor_int(n: int) -> bytes:
    major, tag, m = (0, 2, n) if n >= 0 else (1, 3, -1 - n)
    if m >> 64 == 0:
        return head(major, m)
    return head(6, tag) + cbor_bytes(m.to_bytes((m.bit_length() + 7) // 8, "big"))  # RFC 8949 §3.4.3


def cbor_bytes(b: bytes) -> bytes:
    return head(2, len(b)) + b


def cbor_text(b: bytes) -> bytes:
    return head(3, len(b)) + b


def cbor(v: Any) -> bytes:
    """Deterministic encoding of the generic value that `uncbor` returns."""
    if v is None or v is True or v is False:
        return NULL if v is None else TRUE if v else FALSE
    if isinstance(v, int):
        return cbor_int(v)
    if isinstance(v, bytes):
        return cbor_bytes(v)
    if isinstance(v, str):
        return cbor_text(v.encode())
    if isinstance(v, (list, tuple)):
        return head(4, len(v)) + b"".join(map(cbor, v))
    if isinstance(v, dict):
        return head(5, len(v)) + b"".join(k + x for k, x in sorted((cbor(k), cbor(x)) for k, x in v.items()))
    raise ValueError(f"no CBOR for {type(v).__name__}")


def uncbor(data: bytes) -> Any:
    """Decodes one item, which must be all of `data` and deterministic."""

    def item(i: int, depth: int) -> tuple[Any, int]:
        if depth > 16:
            raise ValueError("nested too deep")
        major, info = data[i] >> 5, data[i] & 31
        i, n = i + 1, info
        if major == 7:
            if info not in (20, 21, 22):
                raise ValueError(f"simple value {info}")
            return {20: False, 21: True, 22: None}[info], i
        if info > 27:
            raise ValueError("indefinite or reserved length")
        if info > 23:
            size = 1 << (info - 24)
            n, i = int.from_bytes(data[i:i + size], "big"), i + size
        if major < 2:
            return (n if major == 0 else -1 - n), i
        if major < 4:
            if i + n > len(data):
                raise ValueError("cut short")
            raw = data[i:i + n]
            return (raw if major == 2 else raw.decode()), i + n
        if major == 4:
            array: list[Any] = []
            for _ in range(n):
                v, i = item(i, depth + 1)
                array.append(v)
            return array, i
        if major == 5:
            members: dict[Any, Any] = {}
            for _ in range(n):
                k, i = item(i, depth + 1)
                if not isinstance(k, (int, str, bytes)):
                    raise ValueError("a map's key is an array, a map or a simple value")
                members[k], i = item(i, depth + 1)
            return members, i
        if n not in (2, 3):
            raise ValueError(f"tag {n}")
        raw, i = item(i, depth + 1)
        if not isinstance(raw, bytes):
            raise ValueError("a bignum that is no byte string")
        m = int.from_bytes(raw, "big")
        return (m if n == 2 else -1 - m), i

    try:
        v, end = item(0, 0)
    except IndexError:
        raise ValueError("cut short") from None
    if end != len(data) or cbor(v) != data:
        raise ValueError("not deterministic CBOR")
    return v


# ---------------------------------------------------------------- Merkle trees: RFC 6962 §2.1


def sha256(b: bytes) -> bytes:
    return hashlib.sha256(b).digest()


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry)


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right)


def tree_root(leaves: Iterable[bytes]) -> bytes:
    """MTH over leaf hashes: whole subtrees are joined as soon as they are full."""
    stack: list[bytes] = []
    for i, h in enumerate(leaves):
        while i & 1:
            h, i = node_hash(stack.pop(), h), i >> 1
        stack.append(h)
    if not stack:
        return sha256(b"")
    h = stack.pop()
    while stack:
        h = node_hash(stack.pop(), h)
    return h


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> Optional[bytes]:
    """The root that an inclusion path (RFC 6962 §2.1.1) leads to; None if the path has not the length it must have."""
    if not 0 <= index < size:
        return None
    h, last, rest = leaf, size - 1, list(path)
    while last:
        if index & 1 or index < last:  # otherwise h has no sibling at this level
            if not rest:
                return None
            h = node_hash(rest.pop(0), h) if index & 1 else node_hash(h, rest.pop(0))
        index, last = index >> 1, last >> 1
    return None if rest else h


# ---------------------------------------------------------------- notes: C2SP signed-note, tlog-checkpoint, tlog-cosignature


def b64(b: bytes) -> str:
    return base64.b64encode(b).decode()


def unb64(s: str, size: Optional[int] = None) -> bytes:
    b = base64.b64decode(s.encode(), validate=True)
    if b64(b) != s or (size is not None and len(b) != size):
        raise ValueError(f"{s!r} is not the base64 of {'bytes' if size is None else f'{size} bytes'}")
    return b


class VKey(NamedTuple):
    name: str
    id: bytes
    kind: int  # signature type: 1 Ed25519, 4 Ed25519 cosignature, 6 ML-DSA-44 cosignature
    public: bytes

    def verifies(self, signature: bytes, message: bytes) -> bool:
        try:
            if self.kind == 6:
                from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
                MLDSA44PublicKey.from_public_bytes(self.public).verify(signature, message)
            else:
                Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
            return True
        except (InvalidSignature, ValueError, ImportError):
            return False


def parse_vkey(s: str) -> VKey:
    parts = s.split("+", 2)
    if len(parts) != 3 or not re.fullmatch(r"\S+", parts[0]) or not re.fullmatch(r"[0-9a-f]{8}", parts[1]):
        raise ValueError(f"{s!r} is not a verifier key")
    raw = unb64(parts[2])
    key = VKey(parts[0], bytes.fromhex(parts[1]), raw[0] if raw else 0, raw[1:])
    if len(key.public) != {1: 32, 4: 32, 6: 1312}.get(key.kind, -1):
        raise ValueError(f"{s!r} has an unknown signature type or a wrong length")
    if sha256(key.name.encode() + b"\n" + raw)[:4] != key.id:
        raise ValueError(f"{s!r}: the hash is not that of the key")
    return key


class Note(NamedTuple):
    text: bytes
    signatures: list[tuple[str, bytes, bytes]]  # name, key id, signature

    def signed_by(self, key: VKey) -> bool:
        """Whether the key signed; a signature of it that fails spoils it."""
        found = [key.verifies(sig, self.text) for name, kid, sig in self.signatures if (name, kid) == (key.name, key.id)]
        return key.kind == 1 and bool(found) and all(found)


def parse_note(data: bytes) -> Note:
    s = data.decode()
    if re.search(r"[\x00-\x09\x0b-\x1f]", s):
        raise ValueError("a note with control characters")
    cut = s.rfind("\n\n")
    if cut < 0 or not s.endswith("\n"):
        raise ValueError("not a signed note")
    signatures = []
    for line in s[cut + 2:-1].split("\n"):
        m = re.fullmatch(r"— ([^\s+]+) (\S+)", line)
        raw = unb64(m[2]) if m else b""
        if not m or len(raw) < 5:
            raise ValueError("a signature line that is none")
        signatures.append((m[1], raw[:4], raw[4:]))
    return Note(s[:cut + 1].encode(), signatures)


class Checkpoint(NamedTuple):
    origin: str
    size: int
    root: bytes
    note: Note


NUMBER, INTEGER = r"(0|[1-9][0-9]{0,18})", r"(0|-?[1-9][0-9]{0,18})"


def parse_checkpoint(data: bytes) -> Checkpoint:
    note = parse_note(data)
    lines = note.text.decode().split("\n")[:-1]
    if len(lines) < 3 or "" in lines or not re.fullmatch(NUMBER, lines[1]):
        raise ValueError("not a checkpoint")
    return Checkpoint(lines[0], int(lines[1]), unb64(lines[2], 32), note)


def cosigned_by(cp: Checkpoint, key: VKey) -> bool:
    """Whether the witness cosigned: tlog-cosignature "Format"."""
    for name, kid, sig in cp.note.signatures:
        if (name, kid) != (key.name, key.id) or len(sig) < 8 or key.kind not in (4, 6):
            continue
        stamp, n, o = sig[:8], key.name.encode(), cp.origin.encode()
        if key.kind == 4:
            message = b"cosignature/v1\ntime %d\n" % int.from_bytes(stamp, "big") + cp.note.text
        else:
            message = (b"subtree/v1\n\x00" + bytes((len(n),)) + n + stamp + bytes((len(o),)) + o
                       + bytes(8) + cp.size.to_bytes(8, "big") + cp.root)
        if stamp[0] < 0x80 and key.verifies(sig[8:], message):
            return True
    return False


def parse_policy(data: bytes) -> tuple[list[VKey], dict[bytes, VKey], Callable[[set[bytes]], bool]]:
    """C2SP tlog-policy: the logs, the witnesses by name, and whether a set of witnesses meets the quorum."""
    logs: list[VKey] = []
    witnesses: dict[bytes, VKey] = {}
    groups: dict[bytes, tuple[int, list[bytes]]] = {}
    members: set[bytes] = set()
    quorum: Optional[bytes] = None
    if re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", data):
        raise ValueError("a control character")
    for line in data.split(b"\n"):
        words = re.split(rb"[ \t]+", line.strip(b" \t"))
        if words == [b""] or words[0].startswith(b"#"):
            continue
        what, args = words[0], words[1:]
        if what == b"log" and len(args) in (1, 2):
            key = parse_vkey(args[0].decode())
            if any(key.public == k.public for k in logs):
                raise ValueError("a log twice")
            logs.append(key)
            continue
        defining = what in (b"witness", b"group") and len(args) >= 2
        if defining and (args[0] in witnesses or args[0] in groups or args[0] == b"none"):
            raise ValueError(f"the name {args[0]!r} twice")
        if what == b"witness" and len(args) in (2, 3):
            key = parse_vkey(args[1].decode())
            if any(key.public == k.public for k in witnesses.values()):
                raise ValueError("a witness twice")
            witnesses[args[0]] = key
        elif what == b"group" and len(args) >= 3:
            names = args[2:]
            k = {b"any": 1, b"all": len(names)}.get(args[1]) or (int(args[1]) if re.fullmatch(rb"[0-9]{1,5}", args[1]) else 0)
            if not 1 <= k <= len(names) or len(set(names)) != len(names):
                raise ValueError(f"group {args[0]!r}")
            if any(n in members or (n not in witnesses and n not in groups) for n in names):
                raise ValueError(f"group {args[0]!r}: a member that is unknown or in two groups")
            members.update(names)
            groups[args[0]] = (k, names)
        elif what == b"quorum" and len(args) == 1 and quorum is None:
            if args[0] != b"none" and args[0] not in witnesses and args[0] not in groups:
                raise ValueError("an unknown quorum")
            quorum = args[0]
        else:
            raise ValueError(f"the line {line!r}")
    if quorum is None:
        raise ValueError("no quorum")

    def met(by: set[bytes], name: bytes = quorum) -> bool:
        if name not in groups:
            return name == b"none" or name in by
        return sum(met(by, n) for n in groups[name][1]) >= groups[name][0]

    return logs, witnesses, met


# ---------------------------------------------------------------- rows: page "Fields of …"


class Field(NamedTuple):
    id: int
    personal: bool
    name: str
    kind: Any  # a name of a kind, or for a list of structs a tuple of (name, kind)


def fields(spec: str, structs: dict[str, Any] = {}) -> list[Field]:
    out = []
    for line in spec.split(","):
        n, name, kind = line.split()
        out.append(Field(int(n.rstrip("p")), n.endswith("p"), name, structs.get(kind, kind)))
    return out


EVENT = "1 writer text, 2 epoch int, 3 seq int, 4 schema_version int, 5 at time"
SCHEMAS: dict[str, list[Field]] = {
    "interactions": fields(
        "1 interaction_id text, 2 writer text, 3 epoch int, 4 seq int, 5 schema_version int, 6 started_at time,"
        "7 ended_at time, 8 tenant text, 9 project text, 10 team text, 11p user_ref text, 12 api_key_id text,"
        "13p conversation_id text, 14 trace_id text, 15 span_id text, 16 source text, 17 operation text, 18 dialect text,"
        "19 stream bool, 20 model_requested text, 21 model_served text, 22 provider text, 23 region text, 24 route_id text,"
        "25 policy_bundle_hash text, 26 signals_id text, 27 decision text, 28 decision_reasons reasons,"
        "29 candidates candidates, 30 attempts attempts, 31 outcome text, 32 http_status int, 33 error_type text,"
        "34 error_message text, 35 finish_reasons texts, 36 latency_us int, 37 ttft_us int, 38 gateway_overhead_us int,"
        "39 input_tokens int, 40 output_tokens int, 41 cache_read_input_tokens int, 42 cache_write_5m_input_tokens int,"
        "43 cache_write_1h_input_tokens int, 44 reasoning_output_tokens int, 45 audio_input_tokens int,"
        "46 audio_output_tokens int, 47 image_input_tokens int, 48 usage_source text, 49 cost_usd decimal,"
        "50 cost_source text, 51 price_id text, 52 request_bytes int, 53 response_bytes int, 54p tags tags,"
        "56 personal_commitment binary, 57 payload_commitment binary, 59 image_output_tokens int,"
        "60 web_search_calls int, 61 other_tool_calls int, 62 service_tier text, 63 upstream_dialect text,"
        "64 dropped texts, 65 provider_cost_usd decimal, 66 experiment text, 67 arm text, 68 propensity millionths,"
        "69 guards guards, 70 pii_counts pii, 71 cache_kind text, 72 cache_similarity millionths, 73 cached_from text,"
        "74 cost_saved_usd decimal, 75 shadow_of text, 76 data_class text, 77 region_evidence text, 78 capabilities texts,"
        "79 estimated_input_tokens int, 80 budget_readings budgets, 81 route_draw millionths, 82 limit_readings limits,"
        "83 target_readings targets, 84 decided_at time,"
        "85 estimated_output_tokens int, 86 estimated_cost_usd decimal",
        {"reasons": (("rule", "text"), ("effect", "text"), ("detail", "text")),
         "candidates": (("provider", "text"), ("model", "text"), ("rejected_because", "text")),
         "attempts": (("provider", "text"), ("model", "text"), ("http_status", "int"), ("error_class", "text"),
                      ("started_at", "time"), ("duration_us", "int"), ("input_tokens", "int"), ("output_tokens", "int"),
                      ("cost_usd", "decimal")),
         "guards": (("guard", "text"), ("rule", "text"), ("phase", "text"), ("verdict", "text"), ("action", "text"),
                    ("matches", "int"), ("duration_us", "int"), ("detail", "text")),
         "pii": (("entity", "text"), ("count", "int")),
         "budgets": (("budget", "text"), ("scope", "text"), ("spent_usd", "decimal"), ("reserved_usd", "decimal"),
                     ("age_s", "int")),
         "limits": (("limit", "text"), ("scope", "text"), ("unit", "text"), ("used", "int"), ("age_s", "int")),
         "targets": (("provider", "text"), ("model", "text"), ("health", "text"), ("weight", "int"),
                     ("stands_by", "bool"), ("load_us", "int"), ("p50_ms", "int"), ("estimate_usd", "decimal"), ("quality_lower", "millionths"))}),
    "control_events": fields(EVENT + ", 6 event_id text, 7 tenant text, 8 actor text, 9 action text, 10 subject text,"
                             "11 detail text"),
    "access_events": fields(EVENT + ", 6 event_id text, 7 tenant text, 8 actor text, 9 action text, 10 subject text,"
                            "11 purpose text, 12 rows int"),
    "log_gaps": fields(EVENT + ", 6 gap_writer text, 7 gap_epoch int, 8 first_seq int, 9 last_seq int,"
                       "10 more_may_be_missing bool, 11 reason text, 12 dropped_opened int, 13 dropped_settled int"),
    "price_corrections": fields(EVENT + ", 6 event_id text, 7 tenant text, 8 actor text, 9 reason text, 10 interaction_id text,"
                                "11 call_started_at time, 12 team text, 13 old_cost_usd decimal, 14 new_cost_usd decimal,"
                                "15 price_id text, 16 catalog_id text"),
    "feedback": fields(EVENT + ", 6 feedback_id text, 7 tenant text, 8 interaction_id text, 9 name text,"
                       "10 score millionths, 11 comment text, 12 source text, 13 given_by text"),
}
PAYLOAD = fields("1 interaction_id text, 2 payload_salt binary, 3 request_content_type text, 4 request_body binary,"
                 "5 response_content_type text, 6 response_body binary")
BESIDE = [Field(0, False, "record_commitment", "binary"), Field(0, False, "personal_salt", "binary")]
DAY_US, EPOCH_DAY = 86_400_000_000, date(1970, 1, 1)
UNPROVEN = b"\xff\xff\xff\xff"  # in place of the group of a call of schema_version 1
WIDE = Context(prec=80)  # the default context would round


def encoder(kind: Any) -> Callable[[Any], bytes]:
    """The CBOR of a plain value (see `plain_type`) of a column of this kind: the table in "Commitments"."""
    if isinstance(kind, tuple):
        parts = [(name, encoder(k)) for name, k in kind]
        start = head(4, len(parts))

        def structs(v: list[Any]) -> bytes:
            return head(4, len(v)) + b"".join(
                NULL if s is None else start + b"".join([NULL if s[n] is None else e(s[n]) for n, e in parts]) for s in v)
        return structs
    if kind == "texts":
        return lambda v: head(4, len(v)) + b"".join([NULL if s is None else cbor_text(s) for s in v])
    if kind == "tags":
        return lambda v: head(4, len(v)) + b"".join(
            [b"\x82" + cbor_text(k) + (NULL if x is None else cbor_text(x)) for k, x in sorted(v, key=lambda kv: kv[0])])
    return {"text": cbor_text, "binary": cbor_bytes, "int": cbor_int, "time": cbor_int,
            "bool": lambda v: TRUE if v else FALSE, "decimal": lambda v: cbor_int(int(WIDE.scaleb(v, 12))),
            "millionths": lambda v: cbor_int(int(WIDE.scaleb(v, 6)))}[kind]


def plain_type(t: pa.DataType, kind: Any) -> pa.DataType:
    """The Arrow type to cast to, so that values come out as int, bytes, bool, Decimal and lists of those."""
    is_, raw = pa.types, pa.large_binary()
    t = t.value_type if is_.is_dictionary(t) else t
    texts = (pa.string(), pa.large_string(), pa.string_view())
    if is_.is_null(t):
        return t
    if kind == "text" and t in texts:
        return raw
    if kind == "binary" and (t in (pa.binary(), raw, pa.binary_view()) or is_.is_fixed_size_binary(t)):
        return raw
    if (kind == "int" and is_.is_integer(t)) or (kind == "bool" and is_.is_boolean(t)) or (
            kind == "decimal" and is_.is_decimal(t) and t.scale <= 12) or (
            kind == "millionths" and is_.is_decimal(t) and t.scale <= 6):
        return t
    if kind == "time" and is_.is_timestamp(t) and t.unit == "us":
        return pa.int64()
    if kind == "tags" and is_.is_map(t) and t.key_type in texts and t.item_type in texts:
        return pa.map_(raw, raw)
    if is_.is_list(t) and kind == "texts" and t.value_type in texts:
        return pa.list_(raw)
    if is_.is_list(t) and isinstance(kind, tuple) and is_.is_struct(t.value_type):
        kinds, inner = dict(kind), list(t.value_type)
        if sorted(f.name for f in inner) == sorted(kinds):
            return pa.list_(pa.struct([(f.name, plain_type(f.type, kinds[f.name])) for f in inner]))
    raise TypeError(f"type {t} where {kind} was expected")


def read_rows(path: Path, wanted: Sequence[Field], chunk: int, on_error: Callable[[str], None]):
    """Yields (number of rows, {column: plain values}), a part of a row group at a time. A missing column is all NULL."""
    try:
        file = pq.ParquetFile(path, memory_map=False, pre_buffer=False)
        schema, casts = file.schema_arrow, {}
        names = {f.name for f in wanted}
        for other in schema.names:
            if other not in names and other.lower() in names:
                raise TypeError(f"column {other}: some readers would take it for {other.lower()}")
        for f in wanted:
            at = schema.get_all_field_indices(f.name)
            if len(at) > 1:
                raise TypeError(f"column {f.name} twice")
            if at:
                try:
                    casts[f.name] = plain_type(schema.field(at[0]).type, f.kind)
                except TypeError as e:
                    raise TypeError(f"column {f.name}: {e}") from None
        groups = file.num_row_groups
    except Exception as e:  # whatever a damaged file makes the reader raise
        return on_error(f"cannot be read: {one_line(e)}")
    for g in range(groups):
        try:
            table = file.read_row_group(g, columns=list(casts), use_threads=False)
            for start in range(0, table.num_rows, chunk):
                part = table.slice(start, chunk)
                yield part.num_rows, {f.name: part.column(f.name).cast(casts[f.name]).to_pylist() if f.name in casts
                                      else [None] * part.num_rows for f in wanted}
        except Exception as e:
            on_error(f"row group {g} cannot be read: {one_line(e)}")


def pieces(values: list[Any], f: Field, encode: Callable[[Any], bytes]) -> list[bytes]:
    """Key and value of one field for every row; nothing for NULL."""
    key = head(0, f.id)
    if isinstance(f.kind, tuple) or f.kind in ("tags", "texts"):
        return [b"" if v is None or (f.personal and not v) else key + encode(v) for v in values]
    memo: dict[Any, bytes] = {None: b""}  # values repeat
    out = []
    for v in values:
        p = memo.get(v)
        if p is None:
            p = memo[v] = key + encode(v)
        out.append(p)
    return out


def one_line(e: BaseException) -> str:
    return f"{type(e).__name__}: {' '.join(str(e).split())[:300]}"


def show(b: Optional[bytes]) -> str:
    return "NULL" if b is None else b64(b) if isinstance(b, bytes) else repr(b)


def text(b: Any) -> str:
    return b.decode(errors="replace") if isinstance(b, bytes) else str(b)


# ---------------------------------------------------------------- Delta tables


@dataclass
class Table:
    name: str
    files: dict[str, dict[str, Optional[str]]] = field(default_factory=dict)  # path -> partition values
    txns: dict[str, int] = field(default_factory=dict)
    entries: dict[int, bytes] = field(default_factory=dict)  # position in the log -> entry, from commitInfo


class Packed:
    """Byte strings of one width, without an object for each of them."""

    def __init__(self, width: int) -> None:
        self.width, self.data = width, bytearray()

    def __len__(self) -> int:
        return len(self.data) // self.width

    def __getitem__(self, i: int) -> bytes:
        if not 0 <= i < len(self):
            raise IndexError(i)
        return bytes(self.data[i * self.width:(i + 1) * self.width])

    def sort(self) -> None:
        self.data = bytearray(b"".join(sorted(self)))


@dataclass(slots=True)
class Batch:
    index: int
    writer: str
    epoch: int
    first: int
    last: int
    rows: int
    start: int
    end: int
    created: int
    root: bytes
    previous: Optional[bytes]
    key: VKey
    sound: bool = True  # the header's own signature
    found: Packed = field(default_factory=lambda: Packed(40))  # seq and R of each row
    changed: dict[int, Any] = field(default_factory=dict)  # seq -> the column, where R differs from it

    def __str__(self) -> str:
        return f"batch {self.writer}/{self.epoch} seq {self.first}-{self.last} (entry {self.index} of the log)"


HEADER = re.compile(
    rf"tollgate-batch/v1\nwriter (\S+)\nepoch {NUMBER}\nseq {NUMBER} {NUMBER}\nrows {NUMBER}\ntime {INTEGER} {INTEGER}\n"
    rf"created {INTEGER}\nroot (\S+)\nprevious (\S+)\nkey (\S+)\n")
KEY_NOTE = re.compile(rf"tollgate-log-key/v1\ncreated {INTEGER}\nkey (\S+)\n")


def parse_header(note: Note, index: int) -> Batch:
    """Page "Batches"."""
    m = HEADER.fullmatch(note.text.decode())
    if not m:
        raise ValueError("neither a batch header nor a key note")
    b = Batch(index, m[1], int(m[2]), int(m[3]), int(m[4]), int(m[5]), int(m[6]), int(m[7]), int(m[8]), unb64(m[9], 32),
              None if m[10] == "none" else unb64(m[10], 32), parse_vkey(m[11]))
    if not (1 <= b.first <= b.last and 1 <= b.rows <= b.last - b.first + 1 and b.start <= b.end):
        raise ValueError("a batch header whose numbers cannot be")
    if b.key.name != b.writer or b.key.kind != 1:
        raise ValueError(f"the key of the header is {b.key.name}'s, type {b.key.kind}, not an Ed25519 key of {b.writer}")
    return b


class Report:
    def __init__(self) -> None:
        self.problems: list[dict[str, str]] = []

    def add(self, kind: str, subject: Any, detail: str) -> None:
        self.problems.append({"kind": kind, "subject": str(subject), "detail": detail})


class Lake:
    """One check: page "Checking a lake"."""

    def __init__(self, folder: Path, vkey: VKey, report: Report) -> None:
        self.folder, self.vkey, self.add = folder, vkey, report.add
        self.tables: dict[str, Table] = {}
        self.checkpoint: Optional[Checkpoint] = None
        self.leaves: list[Optional[bytes]] = []
        self.missing: list[tuple[int, int]] = []  # first and last position of entries that are nowhere
        self.batches: list[Batch] = []
        self.proven_since = 2**63  # `created` of the first batch
        self.last_of_writer: dict[str, tuple[bytes, VKey]] = {}
        self.by_epoch: dict[tuple[bytes, int], tuple[list[int], list[Batch]]] = {}
        self.key_notes: list[tuple[int, VKey, Note]] = []
        self.keys: list[tuple[int, VKey, bool]] = []  # from which size on, key, whether it is the given one or follows it
        self.records = self.unproven = self.payloads = self.payloads_missing = self.expired_batches = 0
        self.salt = secrets.token_bytes(16)
        # of every call: a mark of its id (12 bytes), the first half of its payload_commitment (16), its group (4)
        self.calls = [Packed(32) for _ in range(256)]
        self.groups: dict[tuple[Optional[int], Any], int] = {}  # (day, team) -> number
        self.events: list[tuple[Batch, bytes, str]] = []
        self.expired_payloads: set[tuple[Optional[bytes], int]] = set()  # (team or None for all, day)
        self.expired_records: set[tuple[Optional[bytes], int]] = set()
        self.erased: set[bytes] = set()

    def mark(self, interaction_id: Any) -> bytes:
        return hashlib.blake2b(interaction_id or b"", digest_size=12, key=self.salt).digest()

    # ------------------------------------------------------------ Delta

    def load_table(self, name: str) -> Table:
        table, base = Table(name), self.folder / name
        if not base.is_dir():
            return table
        log = base / "_delta_log"
        try:
            names = sorted(os.listdir(log))
        except OSError:
            names = []
        commits = [int(n[:20]) for n in names if re.fullmatch(r"[0-9]{20}\.json", n)]
        snapshots = [int(n[:20]) for n in names if re.fullmatch(r"[0-9]{20}\.checkpoint\.parquet", n)]
        if "_last_checkpoint" in names:
            try:
                hint = int(json.loads((log / "_last_checkpoint").read_bytes())["version"])
                if hint not in snapshots:
                    self.add("file-missing", f"{name}/_delta_log/{hint:020}.checkpoint.parquet", "_last_checkpoint names it")
            except (OSError, ValueError, TypeError, KeyError, RecursionError) as e:
                self.add("file-unreadable", f"{name}/_delta_log/_last_checkpoint", one_line(e))
        start = 0
        for v in reversed(snapshots):
            actions: list[tuple[str, Any]] = []
            try:
                file = pq.ParquetFile(log / f"{v:020}.checkpoint.parquet", memory_map=False)
                for g in range(file.num_row_groups):
                    rows = file.read_row_group(g, columns=["add", "txn", "metaData"], use_threads=False).to_pylist()
                    actions += [(k, a) for row in rows for k, a in row.items() if a is not None]
                for k, a in actions:
                    self.apply(table, k, a)
                start = v + 1
                break
            except Exception as e:
                table = Table(name)
                self.add("file-unreadable", f"{name}/_delta_log/{v:020}.checkpoint.parquet", one_line(e))
        if not commits and not start:
            self.add("file-missing", f"{name}/_delta_log", "a folder without a Delta log that can be read")
        have = set(commits)
        for v in range(start, commits[-1] if commits else 0):
            if v not in have:
                self.add("file-missing", f"{name}/_delta_log/{v:020}.json", "a commit is missing, later ones are there")
                if v + 1000 < commits[-1]:
                    break  # do not name a million
        for v in commits:
            self.load_commit(table, v, log / f"{v:020}.json", v >= start)
        return table

    def load_commit(self, table: Table, version: int, path: Path, replay: bool) -> None:
        subject = f"{table.name}/_delta_log/{path.name}"
        tlog = size = None
        try:
            for line in path.read_bytes().splitlines():
                for k, a in (json.loads(line) if line.strip() else {}).items():
                    if replay:
                        self.apply(table, k, a)
                    if k == "txn" and a["appId"] == "tlog":
                        tlog = a["version"]
                    if k == "commitInfo" and table.name == "interactions" and "tollgateLog" in a:
                        size, texts = a["tollgateLog"]["size"], a["tollgateLog"]["entries"]
                        if size < len(texts):
                            raise ValueError("tollgateLog has more entries than its size")
                        for i, entry in enumerate(texts, size - len(texts)):
                            entry = entry.encode()
                            if table.entries.setdefault(i, entry) != entry:
                                self.add("tree-entry", entry_name(i, entry), f"{subject} and an earlier commit differ")
            if size != tlog and size is not None:
                self.add("tree-entry", subject, f"tollgateLog has size {size}, the transaction tlog has version {tlog}")
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
            self.add("file-unreadable", subject, one_line(e))

    def apply(self, table: Table, kind: str, action: Any) -> None:
        if kind == "add":
            path, parts = unquote(action["path"]), action["partitionValues"]
            if action.get("deletionVector"):
                self.add("file-unreadable", f"{table.name}/{path}", "deletion vectors are not used by Tollgate")
            table.files[path] = dict(parts or {})
        elif kind == "remove":
            table.files.pop(unquote(action["path"]), None)
        elif kind == "txn":
            table.txns[action["appId"]] = int(action["version"])
        elif kind == "metaData":
            settings = dict(action.get("configuration") or {})
            if settings.get("delta.columnMapping.mode", "none") != "none":
                self.add("file-unreadable", table.name, "column mapping is not used by Tollgate")

    # ------------------------------------------------------------ steps 1 and 2: checkpoint and entries

    def read_checkpoint(self) -> None:
        try:
            self.checkpoint = parse_checkpoint((self.folder / "log/checkpoint").read_bytes())
        except FileNotFoundError:
            self.add("file-missing", "log/checkpoint", "there is no checkpoint")
        except (OSError, ValueError) as e:
            self.add("file-unreadable", "log/checkpoint", one_line(e))
        if self.checkpoint and self.checkpoint.origin != self.vkey.name:
            self.add("checkpoint-origin", "log/checkpoint",
                     f"expected origin {self.vkey.name}, found {self.checkpoint.origin}")

    def tile(self, level: str, n: int, width: int) -> tuple[str, Optional[bytes]]:
        """The tile that shows at least `width` hashes or entries: tlog-tiles "Partial Tiles"."""
        digits = f"{n:03}" if n < 1000 else f"{n:0{-(-len(str(n)) // 3) * 3}}"
        groups = [digits[i:i + 3] for i in range(0, len(digits), 3)]
        name = f"log/tile/{level}/" + "/".join(["x" + g for g in groups[:-1]] + groups[-1:])
        try:
            partial = sorted((int(w) for w in os.listdir(self.folder / (name + ".p")) if re.fullmatch("[1-9][0-9]{0,2}", w)))
        except OSError:
            partial = []
        wider = [f"{name}.p/{w}" for w in partial if w > width]
        for path in ([f"{name}.p/{width}"] if width < 256 else []) + [name] + wider:
            try:
                return path, (self.folder / path).read_bytes()
            except OSError:
                continue
        return name if width == 256 else f"{name}.p/{width}", None

    def bundle(self, n: int, width: int) -> list[bytes]:
        """tlog-tiles "Log entries": 16-bit lengths before the entries."""
        path, data = self.tile("entries", n, width)
        if data is None:
            self.add("file-missing", path, f"entries {n * 256} to {n * 256 + width - 1} of the log")
            return []
        out, i = [], 0
        while i < len(data) and len(out) < 256:
            size = int.from_bytes(data[i:i + 2], "big")
            if i + 2 + size > len(data):
                break
            out.append(data[i + 2:i + 2 + size])
            i += 2 + size
        held = int(path.rsplit("/", 1)[1]) if ".p/" in path else 256
        if i != len(data) or len(out) != held:
            self.add("file-unreadable", path, f"expected {held} entries, found {len(out)}"
                     + ("" if i == len(data) else f" and {len(data) - i} bytes that are none"))
        return out[:width]

    def read_log(self) -> None:
        size, table = self.checkpoint.size if self.checkpoint else 0, self.tables["interactions"]
        known, end = table.entries, max(size, table.txns.get("tlog", 0), max(table.entries, default=-1) + 1)
        for lo in range(0, end, 256):
            hi, covered = min(lo + 256, end), max(0, min(lo + 256, size) - lo)
            # what no checkpoint covers is in the table's commits; tiles of it are only asked if not
            width = hi - lo if any(i not in known for i in range(lo + covered, hi)) else covered
            tiled = self.bundle(lo // 256, width) if width else []
            hashes = self.tile("0", lo // 256, covered)[1] or b"" if covered else b""
            if not tiled and not hashes and not any(i in known for i in range(lo, hi)):
                break  # nothing from here on, whatever the size says
            for k, i in enumerate(range(lo, hi)):
                self.take_position(i, tiled[k] if k < len(tiled) else None, known.get(i),
                                   hashes[32 * k:32 * k + 32] if i < size else b"")
        if len(self.leaves) < end:
            self.missing.append((len(self.leaves), end - 1))
        for first, last in self.missing:
            self.add("tree-entry", f"entry {first} of the log" if first == last else f"entries {first} to {last} of the log",
                     "in no tile and no commit")
        self.by_epoch = {}
        for b in sorted(self.batches, key=lambda b: b.first):
            starts, batches = self.by_epoch.setdefault((b.writer.encode(), b.epoch), ([], []))
            starts.append(b.first)
            batches.append(b)
        self.check_tree(size)

    def take_position(self, i: int, tiled: Optional[bytes], known: Optional[bytes], listed: bytes) -> None:
        """Step 2 for one position: its entry in a tile, in a Delta commit, and its hash in the tile of level 0."""
        entry = known if tiled is None else tiled
        if entry is None:
            self.leaves.append(listed if len(listed) == 32 else None)
            adjoins = self.missing and self.missing[-1][1] == i - 1
            self.missing.append((self.missing.pop()[0] if adjoins else i, i))
            return
        self.leaves.append(leaf_hash(entry))
        if tiled is not None and known is not None and tiled != known:
            self.add("tree-entry", entry_name(i, known), "the tile of entries and the Delta commit differ")
        if len(listed) == 32 and self.leaves[i] != listed:
            self.add("tree-entry", entry_name(i, known or entry),
                     f"expected the hash {b64(listed)} of the tile of level 0, found {b64(self.leaves[i])}")
            if known is not None and leaf_hash(known) == listed:
                entry = known  # so one change is one change
        self.take_entry(i, entry)

    def check_tree(self, size: int) -> None:
        cp, leaves = self.checkpoint, self.leaves[:size]
        if cp is None:
            return
        if len(leaves) < size or None in leaves:
            self.add("tree-root", "log/checkpoint", f"the root of {size} entries cannot be computed: some are missing")
            return
        if tree_root(leaves) != cp.root:
            self.add("tree-root", "log/checkpoint", f"expected {b64(cp.root)}, found {b64(tree_root(leaves))} over {size} entries")
        level, hashes = 0, leaves
        while hashes:  # the tiles of hashes, which others rely on: tlog-tiles "Merkle Tree"
            for n in range(-(-len(hashes) // 256)):
                want = b"".join(hashes[256 * n:256 * n + 256])
                path, data = self.tile(str(level), n, len(want) // 32)
                if data is None:
                    self.add("file-missing", path, "a tile of hashes that the checkpoint needs")
                elif data[:len(want)] != want:
                    self.add("tree-root", path, "the hashes in it are not those of the entries")
            hashes = [tree_root(hashes[i:i + 256]) for i in range(0, len(hashes) - 255, 256)]
            level += 1

    def check_signatures(self, old: Optional[Path], policy: Optional[Path]) -> None:
        """Step 1, once the key notes are known; then the older checkpoint and the policy."""
        self.follow_keys()
        cp = self.checkpoint
        if cp:
            key, trusted = next(((k, t) for at, k, t in reversed(self.keys) if at <= cp.size), (None, False))
            if key is None or not trusted or not cp.note.signed_by(key):
                self.add("checkpoint-signature", "log/checkpoint", "no valid signature of the log's key"
                         + (f" {key.name}+{key.id.hex()}" if key else "") + ", found signatures of "
                         + ", ".join(f"{n}+{i.hex()}" for n, i, _ in cp.note.signatures))
        if old:
            try:
                before = parse_checkpoint(old.read_bytes())
                if before.origin != self.vkey.name:
                    self.add("checkpoint-origin", old, f"expected origin {self.vkey.name}, found {before.origin}")
                known = any(at <= before.size for at, _, _ in self.keys)  # else it is of before the given key
                if known and not any(before.note.signed_by(k) for _, k, _ in self.keys):
                    self.add("checkpoint-signature", old, "no valid signature of a key of the log")
                mine = self.leaves[:before.size]
                if cp and before.size > cp.size:
                    self.add("checkpoint-inconsistent", "log/checkpoint", f"expected at least the size {before.size} of the"
                             f" older checkpoint {old}, found {cp.size}")
                elif cp and (len(mine) < before.size or None in mine or tree_root(mine) != before.root):
                    self.add("checkpoint-inconsistent", "log/checkpoint", f"the first {before.size} entries have not the root"
                             f" {b64(before.root)} of the older checkpoint {old}")
            except (OSError, ValueError) as e:
                self.add("file-unreadable", old, one_line(e))
        if policy:
            try:
                logs, witnesses, met = parse_policy(policy.read_bytes())
                by = {n for n, k in witnesses.items() if cp and cosigned_by(cp, k)}
                ours = {k for _, k, trusted in self.keys if trusted}
                if logs and not any(k in ours or (cp and k.name == cp.origin and cp.note.signed_by(k)) for k in logs):
                    self.add("checkpoint-policy", "log/checkpoint", "signed by none of the policy's logs")
                if not met(by):
                    self.add("checkpoint-policy", "log/checkpoint", "expected the quorum of the policy, found cosignatures of "
                             + (", ".join(sorted(map(text, by))) or "no witness"))
            except (OSError, ValueError, TypeError, RecursionError) as e:
                self.add("checkpoint-policy", policy, one_line(e))

    def follow_keys(self) -> None:
        """Page "The log": key notes. Before the note that brings in the given key, if there is one, keys are unknown."""
        later = any(k == self.vkey for _, k, _ in self.key_notes)
        current = None if later else self.vkey
        self.keys = [] if later else [(0, self.vkey, True)]
        for i, key, note in self.key_notes:
            subject = f"entry {i} of the log (key note for {key.name}+{key.id.hex()})"
            if key.name != self.vkey.name or key.kind != 1:
                self.add("tree-entry", subject, f"expected an Ed25519 key of {self.vkey.name}")
            elif not note.signed_by(key) or (current and not note.signed_by(current)):
                self.add("tree-entry", subject, "not signed with the key that was valid so far and with the new one")
            else:
                current = key
                self.keys.append((i + 1, key, key == self.vkey or any(t for _, _, t in self.keys)))

    # ------------------------------------------------------------ step 3: headers

    def take_entry(self, i: int, entry: bytes) -> None:
        try:
            note = parse_note(entry)
            if m := KEY_NOTE.fullmatch(note.text.decode()):
                self.key_notes.append((i, parse_vkey(m[2]), note))
                return
            b = parse_header(note, i)
        except ValueError as e:
            self.add("tree-entry", f"entry {i} of the log", f"malformed: {one_line(e)}")
            return
        leaf, key = self.last_of_writer.get(b.writer, (None, b.key))
        if not note.signed_by(b.key):
            b.sound = False
            self.add("header-signature", b, f"no valid signature of its key {b.key.name}+{b.key.id.hex()}")
        if key != b.key and not note.signed_by(key):
            b.sound = False
            self.add("header-signature", b, f"the key changed: no valid signature of the one before, {key.name}+{key.id.hex()}")
        if b.previous != leaf:
            self.add("header-chain", b, f"expected previous {b64(leaf) if leaf else 'none'}, found "
                     + (b64(b.previous) if b.previous else "none"))
        starts, batches = self.by_epoch.setdefault((b.writer.encode(), b.epoch), ([], []))
        if b.first != (batches[-1].last if batches else 0) + 1:
            self.add("header-sequence", b, f"expected its first number to be {(batches[-1].last if batches else 0) + 1}")
        batches.append(b)
        self.last_of_writer[b.writer] = (leaf_hash(entry), b.key)
        self.batches.append(b)
        self.proven_since = min(self.proven_since, b.created)

    # ------------------------------------------------------------ step 4: rows

    def check_tables(self) -> None:
        for name, schema in SCHEMAS.items():
            encoders = [(f, encoder(f.kind)) for f in schema]
            for path, n, columns, day in self.rows_of(name, schema + BESIDE, 8192):
                try:
                    self.check_rows(name, encoders, path, n, columns, day)
                except Exception as e:  # values that no sound file has
                    self.add("file-unreadable", f"{name}/{path}", one_line(e))

    def rows_of(self, name: str, wanted: Sequence[Field], chunk: int, quiet: bool = False):
        """All rows of a table at its newest version, as (path, number of rows, columns, day of the folder)."""
        for path, parts in sorted(self.tables[name].files.items()):
            subject = f"{name}/{path}"
            say = (lambda *_: None) if quiet else self.add
            try:
                day = (date.fromisoformat(str(parts.get("day"))) - EPOCH_DAY).days
            except ValueError:
                day = None
            if any(p.startswith("day=") and p != f"day={parts.get('day')}" for p in path.split("/")):
                say("record-day", subject, f"the file is of the day {parts.get('day')}")
            if path.startswith("/") or ".." in path.split("/"):
                say("file-unreadable", subject, "the path leaves the table")
            elif not os.path.isfile(self.folder / name / path):
                say("file-missing", subject, "the table names this file")
            else:
                stated = re.search(r"\.([0-9a-f]{40})\.parquet$", path)
                if stated and not sha256((self.folder / name / path).read_bytes()).hex().startswith(stated[1]):
                    say("file-unreadable", subject, "its bytes are not those whose SHA-256 its name begins with")
                for n, columns in read_rows(self.folder / name / path, wanted, chunk,
                                            lambda e, s=subject: say("file-unreadable", s, e)):
                    yield path, n, columns, day

    def check_rows(self, name: str, encoders: list, path: str, n: int, columns: dict[str, list], day: Optional[int]) -> None:
        calls = name == "interactions"
        start = cbor_int(0) + cbor(name)
        parts = [pieces(columns[f.name], f, e) for f, e in encoders if not f.personal]
        personal = [pieces(columns[f.name], f, e) for f, e in encoders if f.personal]
        private = [columns[f.name] for f, _ in encoders if f.personal]
        heads = [b"tollgate/record/v1" + head(5, 1 + k) + start for k in range(len(parts) + 1)]
        writers, epochs, seqs, versions, stated = (columns[c] for c in (
            "writer", "epoch", "seq", "schema_version", "record_commitment"))
        times = columns["started_at" if calls else "at"]
        b: Optional[Batch] = None
        for i, row in enumerate(zip(*parts)):
            writer, epoch, seq, when = writers[i], epochs[i], seqs[i], times[i]
            if b is None or not (b.first <= (seq or 0) <= b.last and epochs[i - 1] == epoch and writers[i - 1] == writer):
                b = self.batch_of(writer, epoch, seq)

            def subject() -> str:
                return f"{record_name(name, columns, i)} in {path}"

            if not calls and b is None and self.is_not_committed(writer, epoch, seq):
                continue
            if versions[i] == 1:  # of before the log: "Commitments", last paragraph
                self.unproven += 1
                if calls:
                    self.remember_call(columns["interaction_id"][i], None, None, None)
                if b:
                    self.add("record-changed", subject(), f"of schema_version 1, but its number is in {b}")
                elif when is None or when >= self.proven_since:
                    self.add("record-unbatched", subject(), "of schema_version 1, but of a time when the log had proofs")
                continue
            self.records += 1
            r = sha256(heads[len(row) - row.count(b"")] + b"".join(row))
            if r != stated[i]:
                self.add("record-changed", subject(), f"expected record_commitment {show(stated[i])} as its column says, found "
                         f"{show(r)} from its values")
            if when is None or when // DAY_US != day:
                self.add("record-day", subject(), f"expected the folder of {show_day(when)}, found it in {path}")
            if b is None:
                self.add("record-unbatched", subject(), "no batch of the log covers it")
            else:
                b.found.data += seq.to_bytes(8, "big") + r
                if r != stated[i]:
                    b.changed[seq] = stated[i]
            if calls:
                self.check_personal(subject, [p[i] for p in private], b"".join([p[i] for p in personal]),
                                    columns["personal_salt"][i], columns["personal_commitment"][i])
                if columns["payload_commitment"][i] is not None:
                    self.remember_call(columns["interaction_id"][i], columns["payload_commitment"][i],
                                       None if when is None else when // DAY_US, columns["team"][i])
            elif name == "control_events" and b and r == stated[i]:
                action = columns["action"][i]
                if action in (b"payloads.expired", b"payloads.erased", b"records.expired"):
                    self.events.append((b, action, text(columns["subject"][i])))

    def is_not_committed(self, writer: Any, epoch: Any, seq: Any) -> bool:
        """Page "The log": rows of other tables count once the interactions' transaction of their writer has reached them."""
        reached = self.tables["interactions"].txns.get(f"w/{text(writer)}/{epoch}", 0)
        return isinstance(seq, int) and seq > reached

    def batch_of(self, writer: Any, epoch: Any, seq: Any) -> Optional[Batch]:
        starts, batches = self.by_epoch.get((writer, epoch), ((), ()))
        at = bisect_right(starts, seq) - 1 if seq is not None else -1
        return batches[at] if at >= 0 and seq <= batches[at].last else None

    def check_personal(self, subject: Callable[[], str], values: list, row: bytes, salt: Any, stated: Any) -> None:
        """Page "Commitments": personal_commitment. Without a salt everything is NULL: erased, or never there."""
        if salt is None and not any(values):
            return
        fields = sum(v is not None and v != [] for v in values)
        found = None if salt is None else sha256(b"tollgate/personal/v1" + salt + head(5, fields) + row)
        if salt is None or stated is None or not any(values) or found != stated:
            self.add("personal-changed", subject(), f"expected personal_commitment {show(stated)}, found " + (
                "personal fields without a salt" if salt is None else "a salt without personal fields" if not any(values)
                else f"{show(found)} from its values"))

    def remember_call(self, interaction_id: Any, commitment: Any, day: Optional[int], team: Any) -> None:
        group = UNPROVEN
        if commitment is not None:
            group = self.groups.setdefault((day, team), len(self.groups)).to_bytes(4, "big")
        mark = self.mark(interaction_id)
        self.calls[mark[0]].data += mark + (commitment or b"")[:16].ljust(16, b"\0") + group

    # ------------------------------------------------------------ step 5: batches

    def check_batches(self) -> None:
        failed: list[tuple[Batch, int, bytes, bool]] = []
        whole: set[int] = set()
        twice: set[tuple[bytes, int, int]] = set()
        for b in self.batches:
            rows: dict[bytes, bytes] = {}
            for chunk in sorted(b.found):
                if chunk[:8] in rows:
                    twice.add((b.writer.encode(), b.epoch, int.from_bytes(chunk[:8], "big")))
                rows[chunk[:8]] = chunk[8:]
            root = tree_root(map(leaf_hash, rows.values()))
            if len(rows) == b.rows and root == b.root:
                whole.add(b.index)
            else:
                columns = {k: b.changed.get(int.from_bytes(k, "big"), r) for k, r in rows.items()}
                as_stated = b.changed and None not in columns.values() and tree_root(map(leaf_hash, columns.values())) == b.root
                failed.append((b, len(rows), root, bool(as_stated)))
            b.found, b.changed = Packed(40), {}
        self.take_events(whole)
        for b, n, root, as_stated in failed:
            days = range(b.start // DAY_US, b.end // DAY_US + 1)
            if n < b.rows and any(d in days for _, d in self.expired_records):
                self.expired_batches += 1
            elif n != b.rows:
                self.add("batch-rows", b, f"expected {b.rows} records, found {n}")
            else:
                self.add("batch-root", b, f"expected root {b64(b.root)}, found {b64(root)} over its {n} records" + (
                    "; the values of the columns record_commitment give it" if as_stated else ""))
        for number, names in self.identify(twice, set())[0].items():
            for other in names[1:]:
                self.add("record-duplicate", other, f"the same number as {names[0]}")

    def take_events(self, whole: set[int]) -> None:
        """Expiry and erasure, as far as the events themselves are proven."""
        for b, action, subject in self.events:
            if b.index not in whole or not b.sound:
                continue
            if m := re.fullmatch(r"(?:team=(.*) )?day=([0-9]{4}-[0-9]{2}-[0-9]{2})", subject, re.S):
                try:
                    which = (None if m[1] is None else m[1].encode(), (date.fromisoformat(m[2]) - EPOCH_DAY).days)
                except ValueError:
                    continue
                (self.expired_records if action == b"records.expired" else self.expired_payloads).add(which)
            elif subject.startswith("interaction_id=") and action != b"records.expired":
                self.erased.add(self.mark(subject.removeprefix("interaction_id=").encode()))

    def identify(self, numbers: set, marks: set[bytes]) -> tuple[dict[Any, list[str]], dict[bytes, str]]:
        """A second pass, only if something is wrong: the names of rows by (writer, epoch, seq), of calls by their mark."""
        by_number: dict[Any, list[str]] = {}
        by_mark: dict[bytes, str] = {}
        for name, schema in SCHEMAS.items() if numbers else list(SCHEMAS.items())[:1] if marks else ():
            wanted = [f for f in schema if f.name in ("interaction_id", "event_id", "feedback_id", "writer", "epoch", "seq", "schema_version")]
            for path, n, columns, _ in self.rows_of(name, wanted, 8192, quiet=True):
                for i, number in enumerate(zip(columns["writer"], columns["epoch"], columns["seq"])):
                    if columns["schema_version"][i] == 1:
                        continue
                    if number in numbers:
                        by_number.setdefault(number, []).append(f"{record_name(name, columns, i)} in {path}")
                    if marks and name == "interactions" and (m := self.mark(columns["interaction_id"][i])) in marks:
                        by_mark[m] = record_name(name, columns, i)
        return by_number, by_mark

    # ------------------------------------------------------------ step 6: payloads

    def check_payloads(self) -> None:
        for bucket in self.calls:
            bucket.sort()
        seen = [bytearray(len(bucket)) for bucket in self.calls]
        wrong: dict[bytes, str] = {}
        encoders = [encoder(f.kind) for f in PAYLOAD[2:]]
        for path, n, columns, day in self.rows_of("payloads", PAYLOAD, 256):
            for i, (interaction_id, salt, *content) in enumerate(zip(*(columns[f.name] for f in PAYLOAD))):
                if salt is None and not any(content):
                    continue  # erased in place: the same as missing
                self.payloads += 1
                found = sha256(b"tollgate/payload/v1" + (salt or b"") + head(4, 4) + b"".join(
                    [NULL if v is None else e(v) for v, e in zip(content, encoders)]))
                mark = self.mark(interaction_id)
                bucket = self.calls[mark[0]]
                at = bisect_left(bucket, mark)
                same = []
                while at < len(bucket) and bucket[at][:12] == mark:
                    same.append(at)
                    at += 1
                committed = [k for k in same if bucket[k][28:] != UNPROVEN]
                right = [k for k in committed if bucket[k][12:28] == found[:16] and salt is not None]
                for k in right or committed:
                    seen[mark[0]][k] = 1
                if not same and not any(d == day for _, d in self.expired_records):
                    self.add("payload-changed", f"payload of interaction_id {text(interaction_id)} in payloads/{path}",
                             "no call has committed to it")
                elif committed and not right:
                    wrong[mark] = f"the content in payloads/{path} has the commitment {b64(found)}, its call has another"
        missing: set[bytes] = set()
        groups = list(self.groups)
        for bucket, flags in zip(self.calls, seen):
            at = flags.find(0)
            while at >= 0:
                mark, group = bucket[at][:12], bucket[at][28:]
                if group != UNPROVEN:
                    self.payloads_missing += 1
                    day, team = groups[int.from_bytes(group, "big")]
                    if mark not in self.erased and not {(None, day), (team, day)} & self.expired_payloads:
                        missing.add(mark)
                at = flags.find(0, at + 1)
        for mark, name in self.identify(set(), missing | set(wrong))[1].items():
            if mark in wrong:
                self.add("payload-changed", name, wrong[mark])
            if mark in missing:
                self.add("payload-missing", name, "the call committed to content that is not there, and no proven"
                         " payloads.expired or payloads.erased explains it")

    # ------------------------------------------------------------ step 7, and all of it

    def check_sizes(self) -> None:
        txns, size = self.tables["interactions"].txns, self.checkpoint.size if self.checkpoint else 0
        if txns.get("tlog", 0) < size:
            self.add("table-behind", "interactions", f"expected the transaction tlog to be at least the checkpoint's size {size},"
                     f" found {txns.get('tlog', 0)}")
        if size < txns.get("tlog/checkpoint", 0):
            self.add("checkpoint-behind", "log/checkpoint", f"expected at least the size {txns['tlog/checkpoint']} of the"
                     f" transaction tlog/checkpoint, found {size}")

    def check(self, old: Optional[Path], policy: Optional[Path]) -> dict[str, int]:
        self.read_checkpoint()  # before the tables: what is committed meanwhile is then "not yet covered"
        for name in (*SCHEMAS, "payloads"):
            self.tables[name] = self.load_table(name)
        self.read_log()
        self.check_signatures(old, policy)
        self.check_tables()
        self.check_batches()
        self.check_payloads()
        self.check_sizes()
        size = self.checkpoint.size if self.checkpoint else 0
        return {"records": self.records, "batches": len(self.batches), "checkpoint_size": size,
                "uncovered_batches": sum(b.index >= size for b in self.batches), "unproven_records": self.unproven,
                "payloads": self.payloads, "payloads_missing": self.payloads_missing, "expired_batches": self.expired_batches}


def entry_name(i: int, entry: bytes) -> str:
    try:
        return str(parse_header(parse_note(entry), i))
    except ValueError:
        return f"entry {i} of the log"


def record_name(table: str, columns: dict[str, list], i: int) -> str:
    own = columns.get("feedback_id") or columns.get("event_id") or columns.get("interaction_id")
    return (f"record {text(columns['writer'][i])}/{columns['epoch'][i]}/{columns['seq'][i]} of {table}"
            + (f" ({text(own[i])})" if own else ""))


def show_day(us: Any) -> str:
    try:
        return str(EPOCH_DAY + timedelta(days=us // DAY_US))
    except (TypeError, OverflowError):
        return f"the time {us}"


# ---------------------------------------------------------------- page "The proof of one record", C2SP tlog-proof


def readable(kind: Any, v: Any) -> Any:
    """A decoded CBOR value for people and for JSON."""
    if isinstance(v, bytes):
        return b64(v)
    if v is None or isinstance(v, dict):
        return v if v is None else str(v)
    if kind == "time" and isinstance(v, int):
        try:
            return (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=v)).isoformat()
        except OverflowError:
            return v
    if kind == "decimal" and isinstance(v, int):
        return format(WIDE.scaleb(Decimal(v), -12), "f")
    if kind == "millionths" and isinstance(v, int):
        return format(WIDE.scaleb(Decimal(v), -6), "f")
    if isinstance(v, list):
        if isinstance(kind, tuple):
            return [{n: readable(k, x) for (n, k), x in zip(kind, s)} if isinstance(s, list) and len(s) == len(kind)
                    else readable("", s) for s in v]
        return [readable("", x) for x in v]
    return v


def check_proof(data: bytes, vkey: VKey, add: Callable[[str, Any, str], None]) -> dict[str, Any]:
    """Returns what the proof shows: {"record": fields by name, …}. All problems have been added."""
    top, _, bottom = data.decode().partition("\n\n")
    lines = top.split("\n")
    if lines[:1] != ["c2sp.org/tlog-proof@v1"] or len(lines) < 3 or not lines[1].startswith("extra "):
        raise ValueError("not a tlog-proof with an extra line")
    extra = json.loads(unb64(lines[1][6:]))
    m = re.fullmatch("index " + NUMBER, lines[2])
    if not m:
        raise ValueError("no index line")
    log_index, log_path = int(m[1]), [unb64(s, 32) for s in lines[3:]]
    cp = parse_checkpoint(bottom.encode())
    if cp.origin != vkey.name:
        add("checkpoint-origin", "the checkpoint", f"expected origin {vkey.name}, found {cp.origin}")
    if not cp.note.signed_by(vkey):
        add("checkpoint-signature", "the checkpoint", f"no valid signature of {vkey.name}+{vkey.id.hex()}")
    entry, raw = extra["header"].encode(), unb64(extra["record"])
    note = parse_note(entry)
    b = parse_header(note, log_index)
    if root_from_path(leaf_hash(entry), log_index, cp.size, log_path) != cp.root:
        add("tree-root", b, f"its header is not entry {log_index} of the tree of size {cp.size} with root {b64(cp.root)}")
    if not note.signed_by(b.key):
        add("header-signature", b, f"no valid signature of its key {b.key.name}+{b.key.id.hex()}")
    row = uncbor(raw)
    if not isinstance(row, dict) or row.get(0) not in SCHEMAS:
        raise ValueError("the record is not a map with a table's name in field 0")
    known = {f.id: f for f in SCHEMAS[row[0]]}
    record: dict[str, Any] = {"table": row[0]}
    for k, v in row.items():
        if k != 0:
            f = known.get(k)
            record[f.name if f else f"field {k}"] = readable(f.kind if f else "", v)
    subject = f"record {record.get('writer')}/{record.get('epoch')}/{record.get('seq')} of {row[0]} " \
              f"({record.get('feedback_id') or record.get('event_id') or record.get('interaction_id')})"
    index, path = extra["index"], [unb64(s, 32) for s in extra["path"]]
    if type(index) is not int or root_from_path(leaf_hash(sha256(b"tollgate/record/v1" + raw)), index, b.rows, path) != b.root:
        add("batch-root", subject, f"it is not record {index} of {b}")
    seq = record.get("seq")
    if (record.get("writer"), record.get("epoch")) != (b.writer, b.epoch) or not isinstance(seq, int) or not (
            b.first <= seq <= b.last):
        add("record-unbatched", subject, f"its number is not one of {b}")
    out = {"subject": subject, "batch": str(b), "checkpoint_size": cp.size, "record": record}
    names = {f.id: f for f in SCHEMAS[row[0]] if f.personal}
    for part, column, domain in (("personal", 56, b"tollgate/personal/v1"), ("payload", 57, b"tollgate/payload/v1")):
        if extra.get(part) is None:
            continue
        salt, opened = unb64(extra[part]["salt"]), unb64(extra[part]["cbor"])
        if row[0] != "interactions" or sha256(domain + salt + opened) != row.get(column):
            add(f"{part}-changed", subject, f"expected the {part}_commitment {show(row.get(column))}, found "
                f"{b64(sha256(domain + salt + opened))}")
        value = uncbor(opened)
        if part == "personal" and isinstance(value, dict):
            out[part] = {names[k].name if k in names else f"field {k}": readable(names[k].kind if k in names else "", v)
                         for k, v in value.items()}
        elif part == "payload" and isinstance(value, list) and len(value) == 4:
            out[part] = {f.name: v.decode(errors="backslashreplace") if isinstance(v, bytes) else v
                         for f, v in zip(PAYLOAD[2:], value)}
        else:
            add(f"{part}-changed", subject, "the opened content has not the form it must have")
    return out


# ---------------------------------------------------------------- command line


def finish(report: Report, as_json: bool, result: dict[str, Any], lines: list[str], good: str) -> int:
    ok = not report.problems
    if as_json:
        print(json.dumps({"ok": ok, **result, "problems": report.problems}))
    else:
        for p in report.problems:
            print(f"{p['kind']}: {p['subject']}: {p['detail']}")
        print("\n".join([*lines, good if ok else f"FAILED: {len(report.problems)} problems"]))
    return 0 if ok else 1


def main(argv: list[str]) -> int:
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    proving = [a for a in argv if not a.startswith("-")][:1] == ["prove"]
    parser = argparse.ArgumentParser(prog="verify.py", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    if proving:
        parser.add_argument("prove")
        parser.add_argument("file", type=Path, metavar="FILE.tlog-proof")
    else:
        parser.add_argument("--checkpoint", type=Path, help="an older checkpoint, which must be a prefix")
        parser.add_argument("--policy", type=Path, help="a tlog-policy, whose quorum must be met")
        parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("vkey", metavar="VKEY")
    args = parser.parse_args(argv)  # exits with 2
    try:
        vkey = parse_vkey(args.vkey)
        if vkey.kind != 1:
            raise ValueError("the log's key must be an Ed25519 key")
    except ValueError as e:
        parser.error(str(e))
    if not (args.file.is_file() if proving else args.folder.is_dir()):
        parser.error(f"there is no {args.file if proving else args.folder}")
    report = Report()
    if proving:
        out: dict[str, Any] = {}
        try:
            out = check_proof(args.file.read_bytes(), vkey, report.add)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
            report.add("file-unreadable", args.file, one_line(e))
        lines = [f"{part}{name}: {v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)}"
                 for part in ("record", "personal", "payload") for name, v in out.get(part, {}).items()
                 for part in ["" if part == "record" else part + " "]]
        return finish(report, args.json, out, lines,
                      f"ok: {out.get('subject')} in {out.get('batch')}, checkpoint of size {out.get('checkpoint_size')}")
    counts = Lake(args.folder, vkey, report).check(args.checkpoint, args.policy)
    return finish(report, args.json, counts, [], "ok: {records} records in {batches} batches, checkpoint of size "
                  "{checkpoint_size}, {uncovered_batches} batches not yet covered".format(**counts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
