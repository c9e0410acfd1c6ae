#!/usr/bin/env python3
"""Tests verify.py without Tollgate: builds a lake with code of its own, checks it, damages copies of it and checks those.

    python selftest.py            everything (a minute or two)
    python selftest.py NAME…      only the damages whose name contains one of these
    python selftest.py --bench N  a sound lake of N calls, and the time its check takes
"""
from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Callable, Optional

import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import verify  # noqa: E402

UTC = timezone.utc
DAY0 = datetime(2026, 11, 25, 22, 0, tzinfo=UTC)  # the lake's hours go over midnight


# ---------------------------------------------------------------- the writing side, on its own


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def b64(b: bytes) -> str:
    return base64.b64encode(b).decode()


def enc(v: Any) -> bytes:
    def h(major: int, n: int) -> bytes:
        for limit, info, size in ((24, None, 0), (1 << 8, 24, 1), (1 << 16, 25, 2), (1 << 32, 26, 4), (1 << 64, 27, 8)):
            if n < limit:
                return bytes([major * 32 + (n if info is None else info)]) + (n.to_bytes(size, "big") if size else b"")
        raise AssertionError(n)
    if v is None:
        return b"\xf6"
    if isinstance(v, bool):
        return b"\xf5" if v else b"\xf4"
    if isinstance(v, Decimal):
        v = int(v * 10**12)
    if isinstance(v, datetime):
        v = (v - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if isinstance(v, int):
        if -(1 << 64) <= v < 1 << 64:
            return h(0, v) if v >= 0 else h(1, -1 - v)
        m = v if v >= 0 else -1 - v
        raw = m.to_bytes(9, "big").lstrip(b"\0")
        return (b"\xc2" if v >= 0 else b"\xc3") + h(2, len(raw)) + raw
    if isinstance(v, bytes):
        return h(2, len(v)) + v
    if isinstance(v, str):
        return h(3, len(v.encode())) + v.encode()
    if isinstance(v, (list, tuple)):
        return h(4, len(v)) + b"".join(enc(x) for x in v)
    assert isinstance(v, dict)
    return h(5, len(v)) + b"".join(enc(k) + enc(x) for k, x in sorted(v.items()))


def mth(d: list[bytes]) -> bytes:
    """RFC 6962 §2.1 to the letter, over leaf hashes."""
    if not d:
        return sha(b"")
    if len(d) == 1:
        return d[0]
    k = 1
    while k * 2 < len(d):
        k *= 2
    return sha(b"\1", mth(d[:k]), mth(d[k:]))


def path(m: int, d: list[bytes]) -> list[bytes]:
    if len(d) == 1:
        return []
    k = 1
    while k * 2 < len(d):
        k *= 2
    return path(m, d[:k]) + [mth(d[k:])] if m < k else path(m - k, d[k:]) + [mth(d[:k])]


class Key:
    def __init__(self, name: str, kind: int = 1) -> None:
        self.name, self.private = name, Ed25519PrivateKey.generate()
        self.raw = bytes([kind]) + self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = sha(name.encode(), b"\n", self.raw)[:4]
        self.vkey = f"{name}+{self.id.hex()}+{b64(self.raw)}"

    def line(self, text: str) -> str:
        return f"— {self.name} {b64(self.id + self.private.sign(text.encode()))}\n"

    def cosign(self, text: str, when: int) -> str:
        signed = self.private.sign(f"cosignature/v1\ntime {when}\n{text}".encode())
        return f"— {self.name} {b64(self.id + when.to_bytes(8, 'big') + signed)}\n"


def note(text: str, *keys: Key) -> str:
    return text + "\n" + "".join(k.line(text) for k in keys)


REASON = pa.struct([("rule", pa.string()), ("effect", pa.string()), ("detail", pa.string())])
CANDIDATE = pa.struct([("provider", pa.string()), ("model", pa.string()), ("rejected_because", pa.string())])
ATTEMPT = pa.struct([("provider", pa.string()), ("model", pa.string()), ("http_status", pa.int32()),
                     ("error_class", pa.string()), ("started_at", pa.timestamp("us", "UTC")), ("duration_us", pa.int64()),
                     ("input_tokens", pa.int64()), ("output_tokens", pa.int64()), ("cost_usd", pa.decimal128(20, 12))])
T, I, J, W, B = pa.string(), pa.int64(), pa.int32(), pa.timestamp("us", "UTC"), pa.binary()
D, M = pa.decimal128(20, 12), pa.decimal128(7, 6)
GUARD = pa.struct([("guard", T), ("rule", T), ("phase", T), ("verdict", T), ("action", T), ("matches", I), ("duration_us", I),
                   ("detail", T)])
PII = pa.struct([("entity", T), ("count", I)])
BUDGET = pa.struct([("budget", T), ("scope", T), ("spent_usd", D), ("reserved_usd", D), ("age_s", I)])
LIMIT = pa.struct([("limit", T), ("scope", T), ("used", I)])
TARGET = pa.struct([("provider", T), ("model", T), ("health", T), ("load_us", I), ("estimate_usd", D), ("quality_lower", M)])
# (record id, personal id, name, type), in the order of the page
CALLS = [(1, 0, "interaction_id", T), (2, 0, "writer", T), (3, 0, "epoch", I), (4, 0, "seq", I), (5, 0, "schema_version", J),
         (6, 0, "started_at", W), (7, 0, "ended_at", W), (8, 0, "tenant", T), (9, 0, "project", T), (10, 0, "team", T),
         (0, 11, "user_ref", T), (12, 0, "api_key_id", T), (0, 13, "conversation_id", T), (14, 0, "trace_id", T),
         (15, 0, "span_id", T), (16, 0, "source", T), (17, 0, "operation", T), (18, 0, "dialect", T),
         (19, 0, "stream", pa.bool_()), (20, 0, "model_requested", T), (21, 0, "model_served", T), (22, 0, "provider", T),
         (23, 0, "region", T), (24, 0, "route_id", T), (25, 0, "policy_bundle_hash", T), (26, 0, "signals_id", T),
         (27, 0, "decision", T), (28, 0, "decision_reasons", pa.list_(REASON)), (29, 0, "candidates", pa.list_(CANDIDATE)),
         (30, 0, "attempts", pa.list_(ATTEMPT)), (31, 0, "outcome", T), (32, 0, "http_status", J), (33, 0, "error_type", T),
         (34, 0, "error_message", T), (35, 0, "finish_reasons", pa.list_(T)), (36, 0, "latency_us", I), (37, 0, "ttft_us", I),
         (38, 0, "gateway_overhead_us", I), (39, 0, "input_tokens", I), (40, 0, "output_tokens", I),
         (41, 0, "cache_read_input_tokens", I), (42, 0, "cache_write_5m_input_tokens", I),
         (43, 0, "cache_write_1h_input_tokens", I), (44, 0, "reasoning_output_tokens", I), (45, 0, "audio_input_tokens", I),
         (46, 0, "audio_output_tokens", I), (47, 0, "image_input_tokens", I), (48, 0, "usage_source", T),
         (49, 0, "cost_usd", pa.decimal128(20, 12)), (50, 0, "cost_source", T), (51, 0, "price_id", T),
         (52, 0, "request_bytes", I), (53, 0, "response_bytes", I), (0, 54, "tags", pa.map_(T, T)),
         (0, 0, "record_commitment", B), (56, 0, "personal_commitment", B), (57, 0, "payload_commitment", B),
         (0, 0, "personal_salt", B), (59, 0, "image_output_tokens", I), (60, 0, "web_search_calls", I),
         (61, 0, "other_tool_calls", I), (62, 0, "service_tier", T), (63, 0, "upstream_dialect", T),
         (64, 0, "dropped", pa.list_(T)), (65, 0, "provider_cost_usd", D), (66, 0, "experiment", T), (67, 0, "arm", T),
         (68, 0, "propensity", M), (69, 0, "guards", pa.list_(GUARD)), (70, 0, "pii_counts", pa.list_(PII)),
         (71, 0, "cache_kind", T), (72, 0, "cache_similarity", M), (73, 0, "cached_from", T), (74, 0, "cost_saved_usd", D),
         (75, 0, "shadow_of", T), (76, 0, "data_class", T), (77, 0, "region_evidence", T), (78, 0, "capabilities", pa.list_(T)),
         (79, 0, "estimated_input_tokens", I), (80, 0, "budget_readings", pa.list_(BUDGET)), (81, 0, "route_draw", M),
         (82, 0, "limit_readings", pa.list_(LIMIT)), (83, 0, "target_readings", pa.list_(TARGET)), (84, 0, "decided_at", W)]
EVENT = [(1, 0, "writer", T), (2, 0, "epoch", I), (3, 0, "seq", I), (4, 0, "schema_version", J), (5, 0, "at", W)]
COLUMNS = {
    "interactions": CALLS,
    "control_events": EVENT + [(6, 0, "event_id", T), (7, 0, "tenant", T), (8, 0, "actor", T), (9, 0, "action", T),
                               (10, 0, "subject", T), (11, 0, "detail", T), (0, 0, "record_commitment", B)],
    "access_events": EVENT + [(6, 0, "event_id", T), (7, 0, "tenant", T), (8, 0, "actor", T), (9, 0, "action", T),
                              (10, 0, "subject", T), (11, 0, "purpose", T), (12, 0, "rows", I),
                              (0, 0, "record_commitment", B)],
    "log_gaps": EVENT + [(6, 0, "gap_writer", T), (7, 0, "gap_epoch", I), (8, 0, "first_seq", I), (9, 0, "last_seq", I),
                         (10, 0, "more_may_be_missing", pa.bool_()), (11, 0, "reason", T), (12, 0, "dropped_opened", I),
                         (13, 0, "dropped_settled", I), (0, 0, "record_commitment", B)],
    "price_corrections": EVENT + [(6, 0, "event_id", T), (7, 0, "tenant", T), (8, 0, "actor", T), (9, 0, "reason", T),
                                  (10, 0, "interaction_id", T), (11, 0, "call_started_at", W), (12, 0, "team", T),
                                  (13, 0, "old_cost_usd", pa.decimal128(20, 12)),
                                  (14, 0, "new_cost_usd", pa.decimal128(20, 12)), (15, 0, "price_id", T),
                                  (16, 0, "catalog_id", T), (0, 0, "record_commitment", B)],
    "feedback": EVENT + [(6, 0, "feedback_id", T), (7, 0, "tenant", T), (8, 0, "interaction_id", T), (9, 0, "name", T),
                         (10, 0, "score", M), (11, 0, "comment", T), (12, 0, "source", T), (13, 0, "given_by", T),
                         (0, 0, "record_commitment", B)],
    "payloads": [(0, 0, "interaction_id", T), (0, 0, "request_content_type", T), (0, 0, "request_body", B),
                 (0, 0, "response_content_type", T), (0, 0, "response_body", B), (0, 0, "payload_salt", B)],
}
SCHEMA = {t: pa.schema([(name, kind) for _, _, name, kind in cs]) for t, cs in COLUMNS.items()}


def logical(v: Any, kind: pa.DataType) -> Any:
    if v is not None and pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        return [None if s is None else [logical(s[f.name], f.type) for f in kind.value_type] for s in v]
    if v is not None and kind == M:
        return int(v.scaleb(6))
    if v is not None and pa.types.is_map(kind):
        return sorted(([k, x] for k, x in v), key=lambda kv: kv[0].encode())
    return v


def seal(table: str, row: dict[str, Any]) -> bytes:
    """Sets the commitments of a row; returns cbor(row)."""
    columns = COLUMNS[table]
    if table == "interactions" and row.get("personal_salt"):
        m = {p: logical(row[n], k) for _, p, n, k in columns if p and row.get(n) is not None}
        row["personal_commitment"] = sha(b"tollgate/personal/v1", row["personal_salt"], enc(m))
    raw = enc({0: table, **{r: logical(row[n], k) for r, _, n, k in columns if r and row.get(n) is not None}})
    row["record_commitment"] = sha(b"tollgate/record/v1", raw)
    return raw


def when(row: dict[str, Any]) -> datetime:
    return row.get("started_at") or row["at"]


class Delta:
    def __init__(self, lake: Path, name: str) -> None:
        self.root, self.name, self.version, self.files = lake / name, name, -1, 0
        self.live: dict[str, dict[str, Any]] = {}
        self.txns: dict[str, int] = {}

    def write(self, rows: list[dict[str, Any]], day: str, stem: str = "part") -> dict[str, Any]:
        rel = f"day={day}/{stem} {self.files:05}.parquet"  # a space, which the log must encode
        self.files += 1
        target = self.root / rel
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA[self.name]), target, row_group_size=64 if len(rows) < 1000 else 16384)
        return {"path": rel.replace(" ", "%20"), "partitionValues": {"day": day}, "size": target.stat().st_size,
                "modificationTime": 0, "dataChange": True}

    def commit(self, adds: list[dict], removes: list[str] = (), txns: dict[str, int] = {}, info: dict[str, Any] = {}) -> None:
        self.version += 1
        actions: list[dict] = [{"commitInfo": {"timestamp": 0, "operation": "WRITE", **info}}]
        if self.version == 0:
            actions += [{"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
                        {"metaData": {"id": "x", "format": {"provider": "parquet", "options": {}}, "schemaString": "{}",
                                      "partitionColumns": ["day"], "configuration": {}}}]
        actions += [{"txn": {"appId": a, "version": v, "lastUpdated": 0}} for a, v in txns.items()]
        actions += [{"remove": {"path": p, "deletionTimestamp": 0, "dataChange": False}} for p in removes]
        actions += [{"add": a} for a in adds]
        self.txns.update(txns)
        for p in removes:
            del self.live[p]
        self.live.update({a["path"]: a for a in adds})
        log = self.root / "_delta_log"
        log.mkdir(parents=True, exist_ok=True)
        (log / f"{self.version:020}.json").write_text("".join(json.dumps(a) + "\n" for a in actions))

    def snapshot(self) -> None:
        """A Delta checkpoint; the older commits but a few are cleaned up."""
        log = self.root / "_delta_log"
        add = pa.struct([("path", T), ("partitionValues", pa.map_(T, T)), ("size", I), ("dataChange", pa.bool_())])
        meta = pa.struct([("id", T), ("configuration", pa.map_(T, T))])
        rows = [{"metaData": {"id": "x", "configuration": []}}]
        rows += [{"txn": {"appId": a, "version": v}} for a, v in self.txns.items()]
        rows += [{"add": {"path": p, "partitionValues": list(a["partitionValues"].items()), "size": a["size"],
                          "dataChange": True}} for p, a in self.live.items()]
        schema = pa.schema([("txn", pa.struct([("appId", T), ("version", I)])), ("add", add),
                            ("remove", pa.struct([("path", T)])), ("metaData", meta)])
        pq.write_table(pa.Table.from_pylist(rows, schema), log / f"{self.version:020}.checkpoint.parquet", row_group_size=50)
        (log / "_last_checkpoint").write_text(json.dumps({"version": self.version, "size": len(rows)}))
        for v in range(self.version - 3):
            (log / f"{v:020}.json").unlink(missing_ok=True)

    def compact(self) -> None:
        by_day: dict[str, list[str]] = {}
        for p, a in self.live.items():
            by_day.setdefault(a["partitionValues"]["day"], []).append(p)
        for day, paths in by_day.items():
            rows = [r for p in paths for r in pq.read_table(self.root / p.replace("%20", " "), partitioning=None).to_pylist()]
            self.commit([self.write(rows, day, "compacted")], paths)


class Lake:
    """A small Tollgate: writers, flushes, checkpoints."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.tables = {n: Delta(folder, n) for n in COLUMNS}
        self.log_key = Key("log.example/tollgate")
        self.writers: dict[str, Any] = {}
        self.entries: list[bytes] = []
        self.published = 0
        self.now = DAY0
        self.raw: dict[str, tuple[int, int, bytes, list[bytes], int]] = {}  # id -> entry, place, cbor(row), Rs, seq

    def writer(self, name: str) -> dict[str, Any]:
        return self.writers.setdefault(name, {"key": Key(name), "epoch": 1, "seq": 0, "previous": None})

    def call(self, i: int) -> tuple[dict[str, Any], Optional[dict[str, Any]]]:
        r = self.random
        self.now += timedelta(microseconds=r.randrange(1, 30_000_000))
        t = self.now
        row: dict[str, Any] = dict(
            interaction_id=f"call-{i:06}", schema_version=2, started_at=t, ended_at=t + timedelta(microseconds=1234567),
            tenant="acme", project=None, team=r.choice(["blue", "grün", "red"]), api_key_id=f"k{i % 7}", source="gateway",
            operation="chat", dialect="openai", stream=bool(i % 2), model_requested="m" * (i % 40), model_served="m",
            provider="p1", decision="allow",
            decision_reasons=[dict(rule="r1", effect="allow", detail=None)] if i % 3 else [],
            candidates=[dict(provider="p1", model="m", rejected_because=None), dict(provider="p2", model="m2",
                        rejected_because="too dear")] if i % 2 else None,
            attempts=[dict(provider="p1", model="m", http_status=200, error_class=None, started_at=t, duration_us=i,
                           input_tokens=300, output_tokens=None, cost_usd=Decimal("0.000123456789"))],
            outcome="ok", http_status=200, finish_reasons=["stop", None], latency_us=i * 1000, ttft_us=70000,
            input_tokens=i, output_tokens=2**33, usage_source="provider", cost_source="table",
            cost_usd=Decimal(["0.1", "-0.000000000001", "99999999.999999999999", "20000000"][i % 4]),
            request_bytes=-i, response_bytes=2**62)
        if i % 5:
            row |= dict(user_ref=f"user-{i}", conversation_id="" if i % 2 else None,
                        tags=[("z", "1"), ("ä", None), ("a", "2")] if i % 3 else None)
        elif i % 2:
            row |= dict(user_ref="", tags=[])  # empty: no commitment
        if i % 3 == 0:
            row |= dict(
                schema_version=4, decided_at=t, experiment="e", arm="b", propensity=Decimal("0.5"), cache_kind="semantic",
                cache_similarity=Decimal("0.970001"), cached_from=f"call-{i - 1:06}", cost_saved_usd=Decimal("0.000000000007"),
                guards=[dict(guard="pii.iban", rule="r", phase="input", verdict="hit", action="redact", matches=2,
                             duration_us=15, detail=None)],
                pii_counts=[dict(entity="iban", count=i)], data_class="personal", region_evidence="contract",
                capabilities=["tools", "stream"], estimated_input_tokens=i, route_draw=Decimal("0.000001"),
                budget_readings=[dict(budget="b", scope="team=kyc", spent_usd=Decimal("81.5"), reserved_usd=Decimal(0),
                                      age_s=None if i % 2 else 3)],
                limit_readings=[dict(limit="l", scope="key=k", used=2**40)],
                target_readings=[dict(provider="p1", model="m", health="closed", load_us=None,
                                      estimate_usd=Decimal("0.000000000001"), quality_lower=Decimal(1))])
        if any(row.get(c) for c in ("user_ref", "conversation_id", "tags")):
            row["personal_salt"] = r.randbytes(16)
        payload = None
        if i % 4 == 1:
            payload = dict(interaction_id=row["interaction_id"], request_content_type="application/json",
                           request_body=r.randbytes(r.randrange(400)), response_content_type=None if i % 8 == 1 else "text/plain",
                           response_body=None if i % 8 == 1 else b"hello", payload_salt=r.randbytes(16))
            row["payload_commitment"] = sha(b"tollgate/payload/v1", payload["payload_salt"], enc([payload[c] for c in (
                "request_content_type", "request_body", "response_content_type", "response_body")]))
        return row, payload

    def event(self, action: str, subject: str) -> dict[str, Any]:
        self.now += timedelta(seconds=1)
        return dict(schema_version=2, at=self.now, event_id=f"ev-{action}", tenant="acme", actor="admin", action=action,
                    subject=subject, detail=None)

    def batch(self, writer: str, rows: dict[str, list[dict[str, Any]]], keys: Optional[list[Key]] = None) -> str:
        """Numbers and seals the rows; returns the header."""
        w = self.writer(writer)
        first, ordered = w["seq"] + 1, []
        for table, rs in rows.items():
            for row in rs:
                w["seq"] += self.random.choice([1, 1, 1, 2, 3])  # openings have numbers too
                row |= dict(writer=writer, epoch=w["epoch"], seq=w["seq"])
                ordered.append((row, seal(table, row)))
        w["seq"] += self.random.choice([0, 0, 1])
        rs = [row["record_commitment"] for row, _ in ordered]
        for place, (row, raw) in enumerate(ordered):
            self.raw[row.get("interaction_id", "")] = (len(self.entries), place, raw, rs, row["seq"])
        micro = [(when(row) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for row, _ in ordered]
        header = note(
            f"tollgate-batch/v1\nwriter {writer}\nepoch {w['epoch']}\nseq {first} {w['seq']}\nrows {len(rs)}\n"
            f"time {min(micro)} {max(micro)}\ncreated {max(micro) + 1000000}\nroot {b64(mth([sha(bytes(1), r) for r in rs]))}\n"
            f"previous {b64(w['previous']) if w['previous'] else 'none'}\nkey {w['key'].vkey}\n", *(keys or [w["key"]]))
        w["previous"] = sha(b"\0", header.encode())
        return header

    def commit(self, batches: list[tuple[str, dict[str, list[dict[str, Any]]]]], payloads: list[dict] = (),
               keys: Optional[list[Key]] = None) -> list[str]:
        """One flush of one or more batches; returns the paths in interactions."""
        headers = []
        for writer, rows in batches:
            headers.append(self.batch(writer, rows, keys))
            self.entries.append(headers[-1].encode())
        files: dict[tuple[str, str], list[dict[str, Any]]] = {}
        day_of = {}
        for _, rows in batches:
            for table, rs in rows.items():
                for row in rs:
                    day = when(row).strftime("%Y-%m-%d")
                    day_of[row.get("interaction_id")] = day
                    files.setdefault((table, day), []).append(row)
        for p in payloads:
            files.setdefault(("payloads", day_of[p["interaction_id"]]), []).append(p)
        adds: dict[str, list[dict]] = {"interactions": []}
        for (table, day), rs in files.items():
            adds.setdefault(table, []).append(self.tables[table].write(rs, day))
        self.finish(adds, headers)
        return [a["path"] for a in adds["interactions"]]

    def finish(self, adds: dict[str, list[dict]], entries: list[str]) -> None:
        for table, a in adds.items():
            if table != "interactions":
                self.tables[table].commit(a)
        self.tables["interactions"].commit(adds["interactions"], txns={"tlog": len(self.entries), "tlog/checkpoint": self.published},
                                           info={"tollgateLog": {"size": len(self.entries), "entries": entries}})

    def rotate(self) -> None:
        new = Key(self.log_key.name)
        text = f"tollgate-log-key/v1\ncreated 1795000000000000\nkey {new.vkey}\n"
        self.entries.append(note(text, self.log_key, new).encode())
        self.finish({"interactions": []}, [self.entries[-1].decode()])
        self.log_key = new

    def publish(self, *witnesses: Key) -> None:
        log, size = self.folder / "log", len(self.entries)
        hashes = [sha(b"\0", e) for e in self.entries]
        levels = [hashes]
        while len(levels[-1]) >= 256:
            below = levels[-1]
            levels.append([mth(below[i:i + 256]) for i in range(0, len(below) // 256 * 256, 256)])
        for level, hs in [*enumerate(levels), ("entries", [len(e).to_bytes(2, "big") + e for e in self.entries])]:
            for n in range(-(-len(hs) // 256)):
                part = hs[n * 256:n * 256 + 256]
                assert n < 1000
                name = f"tile/{level}/{n:03}" + ("" if len(part) == 256 else f".p/{len(part)}")
                (log / name).parent.mkdir(parents=True, exist_ok=True)
                (log / name).write_bytes(b"".join(part))
        text = f"{self.log_key.name}\n{size}\n{b64(mth(hashes))}\n"
        (log / "checkpoint").write_text(note(text, self.log_key) + "".join(w.cosign(text, 1795000000) for w in witnesses))
        self.published = size


def build(folder: Path) -> tuple[Lake, dict[str, Any]]:
    """The lake that is damaged: 300 batches of two writers, key changes, a compaction, a Delta checkpoint."""
    lake, i, facts = Lake(folder), 0, {}
    facts["vkey"], facts["first_key"] = lake.log_key.vkey, lake.log_key
    witness = facts["witness"] = Key("witness.example/w", 4)

    def flush(n_batches: int, **more: Any) -> list[str]:
        nonlocal i
        batches, payloads = [], []
        for _ in range(n_batches):
            calls = []
            for _ in range(lake.random.randrange(1, 4)):
                row, payload = lake.call(i)
                i += 1
                calls.append(row)
                payloads += [payload] if payload else []
            rows: dict[str, list] = {"interactions": calls}
            if i % 11 == 0:
                lake.now += timedelta(seconds=1)
                rows["access_events"] = [dict(schema_version=2, at=lake.now, event_id=f"ac-{i}", tenant="acme", actor="eve",
                                              action="read", subject="x", purpose="", rows=i)]
            if i % 17 == 0:
                lake.now += timedelta(seconds=1)
                rows["log_gaps"] = [dict(schema_version=2, at=lake.now, gap_writer="gw-a", gap_epoch=1, first_seq=1, last_seq=2,
                                         more_may_be_missing=False, reason="lost", dropped_opened=0, dropped_settled=None)]
            if i % 13 == 0:
                lake.now += timedelta(seconds=1)
                rows["price_corrections"] = [dict(schema_version=3, at=lake.now, event_id=f"pc-{i}", tenant="acme", actor="eve",
                                                  reason="dearer", interaction_id=f"old-{i}", call_started_at=lake.now,
                                                  team="kyc", old_cost_usd=None, new_cost_usd=Decimal("0.000000000001") * i,
                                                  price_id="p/m@release", catalog_id="c")]
            if i % 7 == 0:
                lake.now += timedelta(seconds=1)
                rows["feedback"] = [dict(schema_version=4, at=lake.now, feedback_id=f"fb-{i}", tenant="acme",
                                         interaction_id=f"old-{i}", name="helpful", score=Decimal("-0.000001") * (i % 999999),
                                         comment=None if i % 2 else "so so", source="gateway", given_by="k1")]
            batches.append((more.get("writer") or lake.random.choice(["gw-a", "gw-b"]), rows))
        return lake.commit(batches, payloads, more.get("keys"))

    while len(lake.entries) < 90:
        flush(3)
    lake.publish()
    facts["old"] = (folder / "log/checkpoint").read_bytes()
    a = lake.writer("gw-a")
    before, a["key"] = a["key"], Key("gw-a")  # the writer's key changes, and a new epoch begins
    a["epoch"], a["seq"] = 2, 0
    flush(1, writer="gw-a", keys=[before, a["key"]])
    lake.tables["interactions"].compact()
    while len(lake.entries) < 200:
        flush(4)
    lake.rotate()
    lake.publish()
    facts["middle"] = (folder / "log/checkpoint").read_bytes()
    lake.tables["interactions"].snapshot()
    while len(lake.entries) < 280:
        flush(4)
    lake.tables["payloads"].snapshot()
    lake.publish(witness)
    facts["covered"] = (folder / "log/checkpoint").read_bytes()
    facts["late"] = flush(2)  # committed, checkpoint yet to come
    # an erasure of one payload and of personal fields, an expiry of the red team's payloads of the first day
    lake.commit([("gw-b", {"control_events": [lake.event("payloads.erased", "interaction_id=call-000013"),
                                              lake.event("payloads.expired", "team=red day=2026-11-25")]})])
    lake.publish(witness)
    facts["last"] = flush(1)
    facts["calls"] = i
    return lake, facts


# ---------------------------------------------------------------- checking


def run(*args: Any) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-B", str(HERE / "verify.py"), "--json", *map(str, args)], capture_output=True, text=True)
    assert done.returncode in (0, 1) and not done.stderr, f"exit {done.returncode}: {done.stderr[-2000:]}"
    out = json.loads(done.stdout)
    assert out["ok"] == (done.returncode == 0) == (not out["problems"]), out
    return out


def live(lake: Path, table: str) -> list[Path]:
    """Files at the newest version, in the order of their addition."""
    log, files = lake / table / "_delta_log", {}
    for f in sorted(log.iterdir()):
        if f.name.endswith(".checkpoint.parquet"):
            files = {r["add"]["path"]: 1 for r in pq.read_table(f, columns=["add"]).to_pylist() if r["add"]}
        elif f.suffix == ".json":
            for a in map(json.loads, f.read_text().splitlines()):
                files |= {a["add"]["path"]: 1} if "add" in a else {}
                if "remove" in a:
                    files.pop(a["remove"]["path"], None)
    return [lake / table / p.replace("%20", " ") for p in files]


def edit(file: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    table = file.parents[1].name
    rows = pq.read_table(file, partitioning=None).to_pylist()
    new = change(rows)
    pq.write_table(pa.Table.from_pylist(rows if new is None else new, SCHEMA[table]), file)


def record(table: str, row: dict[str, Any]) -> str:
    name = row.get("interaction_id") or row.get("event_id")
    return f"record {row['writer']}/{row['epoch']}/{row['seq']} of {table}" + (f" ({name})" if name else "")


DAMAGES: dict[str, Callable] = {}
Expected = list  # of (kind, what the subject must contain)


def damage(f: Callable) -> Callable:
    DAMAGES[f.__name__] = f
    return f


def pick(lake: Path, good: Callable[[list[dict[str, Any]]], bool] = lambda rows: True, table: str = "interactions") -> tuple[Path, list]:
    for f in live(lake, table)[3:]:
        rows = pq.read_table(f, partitioning=None).to_pylist()
        if good(rows):
            return f, rows
    raise AssertionError("no file to damage")


def batch_name(lake: Lake, row: dict[str, Any]) -> str:
    for i, e in enumerate(lake.entries):
        w = e.decode().split("\n")
        if w[1] == f"writer {row['writer']}" and w[2] == f"epoch {row['epoch']}":
            first, last = map(int, w[3].split()[1:])
            if first <= row["seq"] <= last:
                return f"batch {row['writer']}/{row['epoch']} seq {first}-{last} (entry {i} of the log)"
    raise AssertionError(row)


@damage
def one_cost_changed(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d)
    edit(f, lambda rs: rs[0].update(cost_usd=Decimal("0.01")))
    return [("record-changed", record("interactions", rows[0])), ("batch-root", batch_name(lake, rows[0]))]


@damage
def cost_and_commitment_changed(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d)

    def change(rs: list) -> None:
        rs[0]["cost_usd"] = Decimal("1")
        seal("interactions", rs[0])
    edit(f, change)
    return [("batch-root", batch_name(lake, rows[0]))]


@damage
def attempt_changed(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d)
    edit(f, lambda rs: rs[0]["attempts"][0].update(cost_usd=Decimal("7")))
    return [("record-changed", record("interactions", rows[0])), ("batch-root", batch_name(lake, rows[0]))]


@damage
def event_changed(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d, table="access_events")
    edit(f, lambda rs: rs[0].update(actor="nobody"))
    return [("record-changed", record("access_events", rows[0])), ("batch-root", batch_name(lake, rows[0]))]


@damage
def gap_hidden(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d, table="log_gaps")
    edit(f, lambda rs: rs[1:])
    return [("batch-rows", batch_name(lake, rows[0]))]


@damage
def row_deleted(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d)
    edit(f, lambda rs: rs[1:])
    return [("batch-rows", batch_name(lake, rows[0]))]


@damage
def row_doubled(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d)
    edit(f, lambda rs: rs + rs[:1])
    return [("record-duplicate", record("interactions", rows[0]))]


@damage
def row_invented(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d)
    new = copy.deepcopy(rows[0])
    new |= dict(interaction_id="invented", seq=10**6, payload_commitment=None)
    seal("interactions", new)
    edit(f, lambda rs: rs + [new])
    return [("record-unbatched", record("interactions", new))]


@damage
def row_in_an_opening(d: Path, lake: Lake, facts: dict) -> Expected:
    """A row with a number within a batch that no row has."""
    f, rows = pick(d, lambda rs: any(a["writer"] == b["writer"] and b["seq"] > a["seq"] + 1 and batch_name(lake, a) == batch_name(lake, b)
                                     for a, b in zip(rs, rs[1:])))
    at = next(i for i in range(len(rows) - 1) if rows[i]["writer"] == rows[i + 1]["writer"] and rows[i + 1]["seq"] > rows[i]["seq"] + 1
              and batch_name(lake, rows[i]) == batch_name(lake, rows[i + 1]))
    new = copy.deepcopy(rows[at])
    new |= dict(interaction_id="invented", seq=new["seq"] + 1, payload_commitment=None)
    seal("interactions", new)
    edit(f, lambda rs: rs + [new])
    return [("batch-rows", batch_name(lake, new))]


@damage
def values_swapped(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d, lambda rs: len(rs) > 1 and rs[0]["cost_usd"] != rs[1]["cost_usd"])

    def change(rs: list) -> None:
        rs[0]["cost_usd"], rs[1]["cost_usd"] = rs[1]["cost_usd"], rs[0]["cost_usd"]
    edit(f, change)
    return [("record-changed", record("interactions", r)) for r in rows[:2]] + [
        ("batch-root", b) for b in {batch_name(lake, r) for r in rows[:2]}]


@damage
def rows_swapped_with_commitments(d: Path, lake: Lake, facts: dict) -> Expected:
    """Everything but the number changes places, commitments computed anew."""
    f, rows = pick(d, lambda rs: len(rs) > 1 and batch_name(lake, rs[0]) == batch_name(lake, rs[1]))

    def change(rs: list) -> None:
        rs[0]["seq"], rs[1]["seq"] = rs[1]["seq"], rs[0]["seq"]
        for r in rs[:2]:
            seal("interactions", r)
    edit(f, change)
    return [("batch-root", batch_name(lake, rows[0]))]


@damage
def back_dated(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d)
    edit(f, lambda rs: rs[0].update(started_at=rs[0]["started_at"] - timedelta(days=1)))
    return [("record-changed", record("interactions", rows[0])), ("record-day", record("interactions", rows[0])),
            ("batch-root", batch_name(lake, rows[0]))]


@damage
def moved_to_another_day(d: Path, lake: Lake, facts: dict) -> Expected:
    f = live(d, "interactions")[-5]
    rows = pq.read_table(f, partitioning=None).to_pylist()
    log = d / "interactions/_delta_log"
    for commit in sorted(log.glob("*.json")):
        actions = [json.loads(x) for x in commit.read_text().splitlines()]
        for a in actions:
            if "add" in a and a["add"]["path"].replace("%20", " ") == str(f.relative_to(d / "interactions")):
                a["add"]["partitionValues"]["day"] = "2020-01-01"
                commit.write_text("".join(json.dumps(x) + "\n" for x in actions))
                name = f"interactions/{f.relative_to(d / 'interactions')}"
                return [("record-day", name)] + [("record-day", record("interactions", r)) for r in rows]
    raise AssertionError("only in the snapshot")


@damage
def downgraded_to_version_1(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d)
    edit(f, lambda rs: rs[0].update(schema_version=1))
    return [("record-changed", record("interactions", rows[0])), ("batch-rows", batch_name(lake, rows[0]))]


@damage
def added_as_version_1(d: Path, lake: Lake, facts: dict) -> Expected:
    """Nobody adds a row without a proof by saying that it is old."""
    f, rows = pick(d)
    added = {**rows[0], "schema_version": 1, "seq": 999_999, "interaction_id": "call-added",
             "started_at": rows[0]["started_at"] + timedelta(days=400)}
    edit(f, lambda rs: rs.append(added))
    return [("record-unbatched", record("interactions", added))]


@damage
def byte_flipped(d: Path, lake: Lake, facts: dict) -> Expected:
    """In the column of R: the file can be read, the value is another."""
    f, rows = pick(d)
    data = bytearray(f.read_bytes())
    at = data.find(rows[0]["record_commitment"])
    assert at > 0
    data[at + 5] ^= 1
    f.write_bytes(data)
    return [("record-changed", record("interactions", rows[0]))]


@damage
def footer_damaged(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d)
    f.write_bytes(f.read_bytes()[:-6])
    return [("file-unreadable", f.name), *{("batch-rows", batch_name(lake, r)) for r in rows},
            *optional_payloads(rows)]


def optional_payloads(rows: list) -> list:
    return [("payload-changed", f"payload of interaction_id {r['interaction_id']} ") for r in rows if r["payload_commitment"]]


@damage
def file_deleted(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d)
    f.unlink()
    return [("file-missing", f.name), *{("batch-rows", batch_name(lake, r)) for r in rows}, *optional_payloads(rows)]


@damage
def file_dropped_from_delta(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d)
    log = d / "interactions/_delta_log"
    version = max(int(p.stem) for p in log.glob("*.json")) + 1
    (log / f"{version:020}.json").write_text(json.dumps({"remove": {"path": str(f.relative_to(d / "interactions")).replace(
        " ", "%20")}}))
    return [*{("batch-rows", batch_name(lake, r)) for r in rows}, *optional_payloads(rows)]


@damage
def tail_truncated(d: Path, lake: Lake, facts: dict) -> Expected:
    """The newest file is gone, of a batch that no checkpoint covers yet."""
    f = live(d, "interactions")[-1]
    rows = pq.read_table(f, partitioning=None).to_pylist()
    f.unlink()
    return [("file-missing", f.name), *{("batch-rows", batch_name(lake, r)) for r in rows}, *optional_payloads(rows)]


def drop_commits(d: Path, n: int) -> list[dict]:
    gone = []
    for commit in sorted((d / "interactions/_delta_log").glob("*.json"))[-n:]:
        for a in map(json.loads, commit.read_text().splitlines()):
            if "add" in a:
                gone += pq.read_table(d / "interactions" / a["add"]["path"].replace("%20", " "), partitioning=None).to_pylist()
        commit.unlink()
    return gone


@damage
def table_rolled_back(d: Path, lake: Lake, facts: dict) -> Expected:
    """Without the last commit, which was covered by nothing, nothing is wrong but the payloads; without more, the rest is."""
    rows = drop_commits(d, 3)
    covered = [r for r in rows if int(batch_name(lake, r).split("entry ")[1].split()[0]) < len(lake.entries) - 1]
    return [("table-behind", "interactions"), *{("batch-rows", batch_name(lake, r)) for r in covered}, *optional_payloads(rows)]


@damage
def table_gone(d: Path, lake: Lake, facts: dict) -> Expected:
    shutil.rmtree(d / "interactions")
    return [("table-behind", "interactions"), ("batch-rows", "batch gw-a/1 seq 1-"), ("payload-changed", "call-000001")]


@damage
def commit_in_the_middle_deleted(d: Path, lake: Lake, facts: dict) -> Expected:
    commits = sorted((d / "interactions/_delta_log").glob("*.json"))
    commits[-6].unlink()
    return [("file-missing", commits[-6].name), ("batch-rows", "batch gw-"), ("payload-changed", "")]


@damage
def commit_unreadable(d: Path, lake: Lake, facts: dict) -> Expected:
    commits = sorted((d / "interactions/_delta_log").glob("*.json"))
    commits[-6].write_text('{"commitInfo": [}\n')
    return [("file-unreadable", commits[-6].name), ("batch-rows", "batch gw-"), ("payload-changed", "")]


@damage
def delta_checkpoint_damaged(d: Path, lake: Lake, facts: dict) -> Expected:
    f = next((d / "interactions/_delta_log").glob("*.checkpoint.parquet"))
    f.write_bytes(b"PAR1" + bytes(50) + b"PAR1")
    return [("file-unreadable", f.name), ("file-missing", "00000000000000000000.json"), ("batch-rows", "batch gw-a/1 seq 1-"),
            ("payload-changed", "call-000001")]


@damage
def delta_checkpoint_deleted(d: Path, lake: Lake, facts: dict) -> Expected:
    f = next((d / "payloads/_delta_log").glob("*.checkpoint.parquet"))
    f.unlink()
    return [("file-missing", f.name), ("payload-missing", "of interactions (call-")]


@damage
def checkpoint_replaced_by_an_older_one(d: Path, lake: Lake, facts: dict) -> Expected:
    (d / "log/checkpoint").write_bytes(facts["middle"])
    return [("checkpoint-behind", "log/checkpoint")]


@damage
def checkpoint_of_another_key(d: Path, lake: Lake, facts: dict) -> Expected:
    lake = copy.copy(lake)
    lake.folder, lake.entries, lake.log_key = d, lake.entries[:-1], Key(lake.log_key.name)
    lake.publish()
    return [("checkpoint-signature", "log/checkpoint")]


@damage
def checkpoint_of_another_log(d: Path, lake: Lake, facts: dict) -> Expected:
    lake = copy.copy(lake)
    lake.folder, lake.entries, lake.log_key = d, lake.entries[:-1], Key("log.example/other")
    lake.publish()
    return [("checkpoint-signature", "log/checkpoint"), ("checkpoint-origin", "log/checkpoint")]


@damage
def checkpoint_signed_with_the_key_of_before(d: Path, lake: Lake, facts: dict) -> Expected:
    lake = copy.copy(lake)
    lake.folder, lake.entries, lake.log_key = d, lake.entries[:-1], facts["first_key"]
    lake.publish()
    return [("checkpoint-signature", "log/checkpoint")]


@damage
def checkpoint_gone(d: Path, lake: Lake, facts: dict) -> Expected:
    (d / "log/checkpoint").unlink()
    return [("file-missing", "log/checkpoint"), ("checkpoint-behind", "log/checkpoint")]


@damage
def checkpoint_of_a_huge_size(d: Path, lake: Lake, facts: dict) -> Expected:
    text = f"{lake.log_key.name}\n1000000000000000000\n{b64(bytes(32))}\n"
    (d / "log/checkpoint").write_text(note(text, lake.log_key))
    return [("tree-root", "log/checkpoint"), ("file-missing", "log/tile/entries"), ("table-behind", "interactions"),
            ("tree-entry", "entries 284 to 511 of the log"), ("tree-entry", "entries 512 to 999999999999999999 of the log")]


@damage
def checkpoint_garbage(d: Path, lake: Lake, facts: dict) -> Expected:
    (d / "log/checkpoint").write_bytes(b"\xff\x00what")
    return [("file-unreadable", "log/checkpoint"), ("checkpoint-behind", "log/checkpoint")]


@damage
def header_changed_in_the_tile(d: Path, lake: Lake, facts: dict) -> Expected:
    """The time of entry 77, in the tile of entries: the tile of hashes still knows better."""
    f = d / "log/tile/entries/000"
    entry = lake.entries[77]
    new = entry.replace(b"\ncreated 1", b"\ncreated 2", 1)
    f.write_bytes(f.read_bytes().replace(len(entry).to_bytes(2, "big") + entry, len(new).to_bytes(2, "big") + new))
    return [("tree-entry", "entry 77 of the log"), ("tree-root", "log/checkpoint"), ("header-signature", "(entry 77 of the log)"),
            ("header-chain", " of the log)")]


@damage
def header_changed_in_a_tile_that_a_commit_knows(d: Path, lake: Lake, facts: dict) -> Expected:
    f = next((d / "log/tile/entries/001.p").glob("*"))
    for f in (d / "log/tile/entries/001.p").iterdir():
        f.write_bytes(f.read_bytes().replace(lake.entries[270], lake.entries[270].replace(b"\nroot ", b"\nrxxt ")))
    return [("tree-entry", "(entry 270 of the log)"), ("tree-root", "log/checkpoint")]


@damage
def header_malformed(d: Path, lake: Lake, facts: dict) -> Expected:
    f = d / "log/tile/entries/000"
    f.write_bytes(f.read_bytes().replace(lake.entries[77], b"x" * len(lake.entries[77])))
    return [("tree-entry", "entry 77 of the log"), ("tree-root", "log/checkpoint"), ("record-unbatched", "record gw-"),
            ("header-chain", " of the log)"), ("header-sequence", " of the log)")]


@damage
def entries_reordered_and_signed(d: Path, lake: Lake, facts: dict) -> Expected:
    """By the holder of the log's key, tiles and all: an older checkpoint and the chain of headers know."""
    forged = copy.copy(lake)
    forged.folder, forged.entries = d, lake.entries[:-1]
    pairs = [i for i in range(90) if [e.split(b"\n")[1] for e in forged.entries[i:i + 2]] == [b"writer gw-a"] * 2]
    i = pairs[0]
    forged.entries[i], forged.entries[i + 1] = forged.entries[i + 1], forged.entries[i]
    forged.publish()
    facts["args"] = ["--checkpoint", facts["old_file"]]
    return [("header-chain", f"(entry {i} of the log)"), ("header-sequence", f"(entry {i} of the log)"),
            ("checkpoint-inconsistent", "log/checkpoint")]


@damage
def header_of_another_key(d: Path, lake: Lake, facts: dict) -> Expected:
    """The last covered batch made anew with a key of the forger's, by the holder of the log's key."""
    forged = copy.copy(lake)
    forged.folder, forged.entries = d, lake.entries[:-1]
    at = max(i for i, e in enumerate(forged.entries) if b"\nwriter gw-a\n" in e)
    lines = forged.entries[at].decode().split("\n\n")[0] + "\n"
    other = Key("gw-a")
    forged.entries[at] = note(lines.replace(lake.writer("gw-a")["key"].vkey, other.vkey), other).encode()
    forged.publish()
    return [("header-signature", f"(entry {at} of the log)"), ("tree-entry", f"(entry {at} of the log)"),
            ("header-chain", f"(entry {len(forged.entries)} of the log)")]


@damage
def tile_of_hashes_changed(d: Path, lake: Lake, facts: dict) -> Expected:
    for f in (d / "log/tile/1/000.p").iterdir():
        f.write_bytes(bytes(len(f.read_bytes())))
    return [("tree-root", "log/tile/1/000.p/1")]


@damage
def tile_of_hashes_changed_at_level_0(d: Path, lake: Lake, facts: dict) -> Expected:
    f = d / "log/tile/0/000"
    f.write_bytes(f.read_bytes()[:320] + bytes(32) + f.read_bytes()[352:])
    return [("tree-root", "log/tile/0/000"), ("tree-entry", "(entry 10 of the log)")]


@damage
def tile_of_entries_gone(d: Path, lake: Lake, facts: dict) -> Expected:
    (d / "log/tile/entries/000").unlink()
    return [("file-missing", "log/tile/entries/000"), ("tree-entry", "entries 0 to "), ("record-unbatched", "record gw-"),
            ("header-chain", " of the log)"), ("header-sequence", " of the log)")]


@damage
def tile_of_entries_cut(d: Path, lake: Lake, facts: dict) -> Expected:
    f = d / "log/tile/entries/000"
    f.write_bytes(f.read_bytes()[:-10])  # the commits still have the last of its entries
    return [("file-unreadable", "log/tile/entries/000")]


@damage
def personal_changed(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d, lambda rs: rs[0]["user_ref"])
    edit(f, lambda rs: rs[0].update(user_ref="somebody else"))
    return [("personal-changed", record("interactions", rows[0]))]


@damage
def personal_salt_removed(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d, lambda rs: rs[0]["user_ref"])
    edit(f, lambda rs: rs[0].update(personal_salt=None))
    return [("personal-changed", record("interactions", rows[0]))]


@damage
def personal_erased(d: Path, lake: Lake, facts: dict) -> Expected:
    """Which is allowed."""
    f, rows = pick(d, lambda rs: rs[0]["tags"])
    edit(f, lambda rs: rs[0].update(personal_salt=None, user_ref=None, conversation_id=None, tags=None))
    return []


@damage
def personal_added(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d, lambda rs: rs[0]["personal_commitment"] is None)

    def change(rs: list) -> None:
        rs[0].update(personal_salt=bytes(16), user_ref="me")
    edit(f, change)
    return [("personal-changed", record("interactions", rows[0]))]


@damage
def payload_changed(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d, table="payloads")
    edit(f, lambda rs: rs[0].update(request_body=b"something else"))
    return [("payload-changed", f"of interactions ({rows[0]['interaction_id']})")]


@damage
def payload_changed_behind_an_old_row(d: Path, lake: Lake, facts: dict) -> Expected:
    """A row of schema_version 1 with the same interaction_id, which proves nothing, must not cover for it."""
    f, rows = pick(d, table="payloads")
    edit(f, lambda rs: rs[0].update(request_body=b"something else"))
    g = live(d, "interactions")[4]
    edit(g, lambda rs: rs + [dict(rs[0], interaction_id=rows[0]["interaction_id"], writer="gw-0", schema_version=1,
                                  payload_commitment=None, started_at=DAY0 - timedelta(hours=1))])
    return [("payload-changed", f"of interactions ({rows[0]['interaction_id']})")]


@damage
def payload_of_no_call(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d, table="payloads")
    edit(f, lambda rs: rs + [dict(rs[0], interaction_id="nobody")])
    return [("payload-changed", "payload of interaction_id nobody in payloads/")]


@damage
def payload_deleted(d: Path, lake: Lake, facts: dict) -> Expected:
    f, rows = pick(d, lambda rs: rs[0]["interaction_id"] != "call-000013", table="payloads")
    f, rows = next((f, rows) for f, rows in ((f, pq.read_table(f, partitioning=None).to_pylist()) for f in live(d, "payloads"))
                   if "day=2026-11-26" in str(f))
    edit(f, lambda rs: rs[1:])
    return [("payload-missing", f"of interactions ({rows[0]['interaction_id']})")]


@damage
def payloads_erased_and_expired(d: Path, lake: Lake, facts: dict) -> Expected:
    """Explained by the events of the lake: nothing is wrong."""
    red = {r["interaction_id"] for f in live(d, "interactions") for r in pq.read_table(f, partitioning=None).to_pylist()
           if r["team"] == "red" and r["started_at"].day == 25}
    for f in live(d, "payloads"):
        edit(f, lambda rs: [r for r in rs if r["interaction_id"] not in red | {"call-000013"}])
    facts["missing"] = len(red)
    return []


@damage
def payload_events_forged(d: Path, lake: Lake, facts: dict) -> Expected:
    """An erasure explained by an event of which the log knows nothing: beyond what its writer has committed, it does not count,
    and explains nothing."""
    f = next(f for f in live(d, "payloads") if "day=2026-11-26" in str(f))
    rows = pq.read_table(f, partitioning=None).to_pylist()
    edit(f, lambda rs: [])
    g = live(d, "control_events")[-1]

    def change(rs: list) -> None:
        rs.append(dict(rs[0], seq=10**7, action="payloads.expired", subject="day=2026-11-26"))
        seal("control_events", rs[-1])
    edit(g, change)
    return [("payload-missing", f"({r['interaction_id']})") for r in rows]


def fuzz(lake_dir: Path, facts: dict, rounds: int) -> None:
    """Bits flipped anywhere in the bucket: never a crash; in Parquet files found, or without effect on any value."""
    r = random.Random(5)
    tables = [f for t in COLUMNS for f in live(lake_dir, t)]
    others = [f for f in lake_dir.rglob("*") if f.is_file() and f not in tables]

    def one(n: int, f: Path, at: int, bit: int) -> str:
        with tempfile.TemporaryDirectory() as tmp:
            d = Path(tmp) / "lake"
            shutil.copytree(lake_dir, d, copy_function=os.link)
            g = d / f.relative_to(lake_dir)
            data = bytearray(f.read_bytes())
            data[at] ^= bit
            g.unlink()
            g.write_bytes(data)
            out = run(d, facts["vkey"])
            if out["ok"] and f in tables:
                a, b = (pq.read_table(x, partitioning=None).to_pylist() for x in (f, g))
                names = {n for row in a + b for n, v in row.items() if v is not None and n in SCHEMA[f.parents[1].name].names}
                same = [[row.get(n) for n in names] for row in a] == [[row.get(n) for n in names] for row in b]
                assert same, f"{f} byte {at} bit {bit}"
            if out["ok"]:
                return "no effect"
            return out["problems"][0]["kind"]
    jobs = []
    for n in range(rounds):
        f = r.choice(r.choice([tables, others]))
        jobs.append((n, f, r.randrange(f.stat().st_size), 1 << r.randrange(8)))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        kinds = list(pool.map(lambda j: one(*j), jobs))
    print("fuzz:", {k: kinds.count(k) for k in sorted(set(kinds))})


# ---------------------------------------------------------------- vectors of others


def vectors() -> None:
    """RFC 8949 appendix A (the kinds that the page uses), certificate-transparency's tree, Go's note."""
    for value, expected in [
            (0, "00"), (1, "01"), (10, "0a"), (23, "17"), (24, "1818"), (25, "1819"), (100, "1864"), (1000, "1903e8"),
            (1000000, "1a000f4240"), (1000000000000, "1b000000e8d4a51000"), (18446744073709551615, "1bffffffffffffffff"),
            (18446744073709551616, "c249010000000000000000"), (-18446744073709551616, "3bffffffffffffffff"),
            (-18446744073709551617, "c349010000000000000000"), (-1, "20"), (-10, "29"), (-100, "3863"), (-1000, "3903e7"),
            (False, "f4"), (True, "f5"), (None, "f6"), (b"", "40"), (bytes.fromhex("01020304"), "4401020304"), ("", "60"),
            ("a", "6161"), ("IETF", "6449455446"), ("\"\\", "62225c"), ("\u00fc", "62c3bc"), ("\u6c34", "63e6b0b4"),
            ("\U00010151", "64f0908591"), ([], "80"), ([1, 2, 3], "83010203"), ([1, [2, 3], [4, 5]], "8301820203820405"),
            (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"), ({}, "a0"),
            ({1: 2, 3: 4}, "a201020304"), ({"a": 1, "b": [2, 3]}, "a26161016162820203"), (["a", {"b": "c"}], "826161a161626163"),
            ({"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}, "a56161614161626142616361436164614461656145")]:
        got = verify.cbor(value)
        assert got.hex() == expected, (value, got.hex(), expected)
        assert verify.uncbor(got) == value and type(verify.uncbor(got)) is type(value), value
        assert enc(value) == got
    for bad in ("", "18", "1817", "1900ff", "5f42010243030405ff", "9fff", "bf61610161629f0203ffff", "f97e00", "c101", "6161ff",
                "a203040102", "a201020102", "c24100", "c2410a", "f800", "fc", "44010203", "61ff", "81" * 40 + "00", "9bffffffffffffffff"):
        try:
            verify.uncbor(bytes.fromhex(bad))
        except ValueError:
            continue
        raise AssertionError(f"{bad} was decoded")
    for kind, value, expected in [
            ("decimal", Decimal("18446744.073709551615"), "1bffffffffffffffff"), ("decimal", Decimal("18446744.073709551616"), "c249010000000000000000"),
            ("decimal", Decimal("-18446744.073709551617"), "c349010000000000000000"), ("decimal", Decimal("0.000000000010"), "0a"),
            ("millionths", Decimal("-0.5"), "3a0007a11f"), ("millionths", Decimal("1"), "1a000f4240"),
            ("tags", [(b"b", b"1"), (b"a", None), (b"aa", b"")], "838261 61f6 826261 61 60 8261626131".replace(" ", "")),
            ("texts", [b"a", None], "826161f6"), ((("x", "int"), ("y", "text")), [{"y": b"a", "x": -1}, None], "8282206161f6")]:
        got = verify.encoder(kind)(value).hex()
        assert got == expected, (kind, value, got, expected)
    leaves = [bytes.fromhex(x) for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                                         "606162636465666768696a6b6c6d6e6f")]
    roots = ["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
             "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
             "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
             "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
             "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
             "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
             "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
             "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
             "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"]
    hashes = [verify.leaf_hash(x) for x in leaves]
    for n, root in enumerate(roots):
        assert verify.tree_root(hashes[:n]).hex() == root, n
    for n in range(1, 40):
        many = [sha(bytes([i])) for i in range(n)]
        assert verify.tree_root(many) == mth(many)
        for i in range(n):
            p = path(i, many)
            assert verify.root_from_path(many[i], i, n, p) == mth(many)
            assert verify.root_from_path(many[i], i, n, p + [bytes(32)]) is None
            assert not p or verify.root_from_path(many[i], i, n, p[:-1]) is None
            assert verify.root_from_path(many[i], n, n, p) is None
    key = verify.parse_vkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = ("If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
            "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n")
    assert verify.parse_note(text.encode()).signed_by(key)
    assert not verify.parse_note(text.replace("your", "a", 1).encode()).signed_by(key)
    w = [Key(f"w{i}.example", 4) for i in range(5)]
    lines = "".join(f"witness w{i} {k.vkey} https://x\n" for i, k in enumerate(w))
    for rest, met, unmet in [("quorum none\n", [set()], []), ("quorum w1\n", [{b"w1"}], [{b"w0"}]),
                             ("# x\n\n \tgroup g 2 w0  w1 w2\ngroup h any w3 w4 \ngroup q all g h\nquorum q", [{b"w0", b"w2", b"w4"}],
                              [{b"w0", b"w3", b"w4"}, {b"w0", b"w1", b"w2"}, set()])]:
        quorum = verify.parse_policy((lines + rest).encode())[2]
        assert all(map(quorum, met)) and not any(map(quorum, unmet))
    for bad in ("", "quorum x\n", "quorum w1\nquorum w1\n", "group g 3 w0 w1\nquorum g\n", "group g any\nquorum none\n",
                "group g 0 w0\nquorum g\n", "group g x w0\nquorum g\n", "group g all w0\ngroup h all w0 w1\nquorum h\n",
                "group g all g\nquorum g\n", "witness w0 " + w[0].vkey + "\nquorum none\n", "quorum none\r\n", "what\nquorum none\n"):
        try:
            verify.parse_policy((lines + bad).encode())
        except ValueError:
            continue
        raise AssertionError(f"policy {bad!r} was taken")
    print("vectors: ok")


def proofs(lake: Lake, facts: dict, tmp: Path) -> None:
    folder = lake.folder
    size = int((folder / "log/checkpoint").read_text().split("\n")[1])
    hashes = [sha(b"\0", e) for e in lake.entries[:size]]
    for f in live(folder, "interactions")[-6:-4]:
        for row in pq.read_table(f, partitioning=None).to_pylist()[:2]:
            entry, place, raw, rs, seq = lake.raw[row["interaction_id"]]
            extra: dict[str, Any] = dict(header=lake.entries[entry].decode(), record=b64(raw), index=place,
                                         path=[b64(h) for h in path(place, [sha(b"\0", r) for r in rs])])
            if row["personal_salt"]:
                m = {p: logical(row[n], k) for _, p, n, k in CALLS if p and row[n] is not None}
                extra["personal"] = {"salt": b64(row["personal_salt"]), "cbor": b64(enc(m))}

            def text(extra: dict, entry: int = entry) -> str:
                return "\n".join(["c2sp.org/tlog-proof@v1", "extra " + b64(json.dumps(extra).encode()), f"index {entry}",
                                  *map(b64, path(entry, hashes)), "", (folder / "log/checkpoint").read_text()])

            def prove(content: str) -> dict:
                (tmp / "x.tlog-proof").write_text(content)
                return run("prove", tmp / "x.tlog-proof", lake.log_key.vkey)
            out = prove(text(extra))
            assert out["ok"], out
            assert out["record"]["interaction_id"] == row["interaction_id"] and Decimal(out["record"]["cost_usd"]) == row["cost_usd"]
            assert not row["personal_salt"] or out["personal"].get("user_ref") == row["user_ref"]
            forged = verify.uncbor(raw)
            forged[49] = 1
            for change, kind in [
                    (dict(record=b64(verify.cbor(forged))), "batch-root"), (dict(index=place + 1), "batch-root"),
                    (dict(header=extra["header"].replace("\ncreated 1", "\ncreated 2")), "tree-root"),
                    (dict(header=extra["header"].replace("\ncreated 1", "\ncreated 2")), "header-signature"),
                    (dict(personal={"salt": b64(bytes(16)), "cbor": b64(b"\xa0")}), "personal-changed"),
                    (dict(record="!"), "file-unreadable"), (dict(path=5), "file-unreadable"), (dict(header=7), "file-unreadable")]:
                assert kind in {p["kind"] for p in prove(text(extra | change))["problems"]}, (change, kind)
            assert "tree-root" in {p["kind"] for p in prove(text(extra).replace(f"index {entry}\n", f"index {entry - 1}\n"))["problems"]}
            for junk in ("", "c2sp.org/tlog-proof@v1\n", text(extra)[:300], text(extra).replace("extra ", "extra x")):
                assert not prove(junk)["ok"]
    plain = subprocess.run([sys.executable, str(HERE / "verify.py"), "prove", str(tmp / "x.tlog-proof"), lake.log_key.vkey],
                           capture_output=True, text=True)
    assert plain.returncode == 1 and plain.stdout.endswith("FAILED: 1 problems\n"), plain
    print("proofs: ok")


def main(argv: list[str]) -> int:
    with tempfile.TemporaryDirectory() as t:
        tmp = Path(t)
        if argv[:1] == ["--bench"]:
            return bench(tmp, int(argv[1]))
        vectors()
        lake, facts = build(tmp / "lake")
        facts["old_file"] = tmp / "old"
        facts["old_file"].write_bytes(facts["old"])
        if not argv:
            sound(lake, facts, tmp)
            proofs(lake, facts, tmp)
            expiry(tmp)
        chosen = [n for n in DAMAGES if not argv or any(a in n for a in argv)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            failed = [n for n in pool.map(lambda n: None if try_damage(n, lake, facts, tmp) else n, chosen) if n]
        if not argv:
            fuzz(tmp / "lake", facts, 80)
        print("FAILED: " + ", ".join(failed) if failed else f"ok: {len(chosen)} damages")
        return 1 if failed else 0


def try_damage(name: str, lake: Lake, facts: dict, tmp: Path) -> bool:
    d, facts = tmp / name / "lake", dict(facts)
    shutil.copytree(tmp / "lake", d)
    try:
        expected = DAMAGES[name](d, lake, facts)
        out = run(*facts.get("args", []), d, facts["vkey"])
    except Exception as e:
        print(f"{name}: {type(e).__name__} {e}")
        return False
    found = [(p["kind"], p["subject"]) for p in out["problems"]]
    missed = [e for e in expected if not any(k == e[0] and e[1] in s for k, s in found)]
    more = sorted({k for k, _ in found} - {k for k, _ in expected})
    if "missing" in facts and out["payloads_missing"] == 0:
        missed.append(("payloads_missing", "0"))
    good = not missed and not more
    print(f"{name}: {'ok' if good else 'WRONG'} ({len(found)} problems: {', '.join(sorted({k for k, _ in found})) or 'none'})"
          + "".join(f"\n   not found: {k}: {s}" for k, s in missed[:8]) + (f"\n   unexpected: {more}" if more else "")
          + ("" if good else "".join(f"\n   {p}" for p in out["problems"][:6])))
    shutil.rmtree(tmp / name)
    return good


def sound(lake: Lake, facts: dict, tmp: Path) -> None:
    """The lake as it is, with every way to give a key, an older checkpoint and a policy."""
    policy = tmp / "policy"
    middle = tmp / "middle"
    middle.write_bytes(facts["middle"])
    folder = tmp / "lake"
    for args in ([], ["--policy", policy], ["--checkpoint", facts["old_file"]], ["--checkpoint", middle]):
        for vkey in (facts["vkey"], lake.log_key.vkey):
            policy.write_text(f"log {vkey}\nwitness w {facts['witness'].vkey}\nquorum w\n")
            out = run(*args, folder, vkey)
            assert out["ok"], out["problems"][:5]
    assert out["checkpoint_size"] == len(lake.entries) - 1 and out["uncovered_batches"] == 1, out
    assert out["batches"] == len(lake.entries) - 1 and out["records"] > facts["calls"], out
    assert out["payloads"] == (facts["calls"] + 2) // 4 and out["payloads_missing"] == out["unproven_records"] == 0, out
    policy.write_text(f"witness w {Key('witness.example/w', 4).vkey}\nquorum w\n")
    other = Key("log.example/other")
    for args, vkey, kinds in [(["--policy", policy], facts["vkey"], {"checkpoint-policy"}),
                              (["--policy", tmp / "absent"], facts["vkey"], {"checkpoint-policy"}),
                              (["--checkpoint", tmp / "absent"], facts["vkey"], {"file-unreadable"}),
                              ([], Key("log.example/tollgate").vkey, {"checkpoint-signature", "tree-entry"})]:
        out = run(*args, folder, vkey)
        assert {p["kind"] for p in out["problems"]} == kinds, out["problems"][:5]
    assert "checkpoint-origin" in {p["kind"] for p in run(folder, other.vkey)["problems"]}
    for args in ([], ["x"], [folder], [folder, "x"], [tmp / "absent", facts["vkey"]], ["prove", folder], ["--wrong", folder, "x"]):
        done = subprocess.run([sys.executable, str(HERE / "verify.py"), *map(str, args)], capture_output=True, text=True)
        assert done.returncode == 2, (args, done)
    done = subprocess.run([sys.executable, str(HERE / "verify.py"), str(folder), facts["vkey"]], capture_output=True, text=True)
    assert done.stdout.startswith("ok: ") and done.stdout.count("\n") == 1 and done.returncode == 0, done
    print("sound:", done.stdout.strip())
    # rows of before the log, and an empty bucket
    old = tmp / "with-old-rows"
    shutil.copytree(folder, old)
    f = live(old, "interactions")[5]
    def old_row(rs: list[dict], **more: Any) -> list[dict]:
        return rs + [dict(rs[0], interaction_id="old", writer="gw-0", seq=5, schema_version=1, record_commitment=b"x", **more)]
    before = DAY0 - timedelta(hours=1)
    kept = f.read_bytes()
    edit(f, lambda rs: old_row(rs, started_at=before, ended_at=before))
    out = run(old, facts["vkey"])
    assert out["ok"] and out["unproven_records"] == 1, out
    # whoever has forged one since then cannot say that it is of before
    f.write_bytes(kept)
    edit(f, old_row)
    out = run(old, facts["vkey"])
    assert [p["kind"] for p in out["problems"]] == ["record-unbatched"] and out["unproven_records"] == 1, out
    (tmp / "empty").mkdir()
    assert [p["kind"] for p in run(tmp / "empty", facts["vkey"])["problems"]] == ["file-missing"]


def expiry(tmp: Path) -> None:
    """Records of two days, the first of which is deleted, with a proven event and without."""
    for explained, subject in ((True, "day=2026-11-25"), (True, "team=red day=2026-11-25"), (False, "day=2026-11-26"), (False, None)):
        folder = tmp / f"expiry-{subject}"
        lake = Lake(folder)
        for day in range(3):
            lake.now = DAY0 + timedelta(days=day)
            for k in range(4):
                row, payload = lake.call(day * 10 + k)
                lake.commit([("gw-a", {"interactions": [row]})], [payload] if payload else [])
        if subject:
            lake.commit([("gw-b", {"control_events": [lake.event("records.expired", subject)]})])
        lake.publish()
        assert run(folder, lake.log_key.vkey)["ok"]
        table = lake.tables["interactions"]
        table.commit([], [p for p, a in table.live.items() if a["partitionValues"]["day"] == "2026-11-25"])
        out = run(folder, lake.log_key.vkey)
        kinds = {p["kind"] for p in out["problems"]}
        assert kinds == (set() if explained else {"batch-rows", "payload-changed"}), (subject, out)
        assert out["expired_batches"] == (4 if explained else 0)
    print("expiry: ok")


def bench(tmp: Path, n: int) -> int:
    lake = Lake(tmp / "lake")
    for start in range(0, n, 2000):
        pairs = [lake.call(i) for i in range(start, min(start + 2000, n))]
        lake.commit([("gw-a", {"interactions": [row for row, _ in pairs]})], [p for _, p in pairs if p])
    lake.tables["interactions"].compact()
    lake.publish()
    began = time.time()
    out = run(lake.folder, lake.log_key.vkey)
    print(f"{out['records']} records in {time.time() - began:.1f} s, ok: {out['ok']}, "
          f"at most {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
