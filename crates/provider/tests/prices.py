"""Writes prices.json: what the calculator of genai-prices makes of calls, to compare ours with to the last digit.

Run with the package installed: `python prices.py BUILT_FROM > prices.json`, where BUILT_FROM is the directory of the
catalogue. Only models are taken whose id finds the same model here and there; every class of usage that the row prices
is in one of the calls.
"""

import datetime
import decimal
import json
import pathlib
import re
import sys
import warnings

from genai_prices.data import providers
from genai_prices.types import ModelPrice, TieredPrices, Usage

RENAMED = {"aws": "bedrock", "x-ai": "xai", "moonshotai": "moonshot", "voyageai": "voyage"}
CONTEXT = {"batch": {"processing": "batch"}, "flex": {"service_tier": "flex"}, "priority": {"service_tier": "priority"},
           "fast": {"service_tier": "fast"}}
UTC = datetime.timezone.utc
NOW = datetime.datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
COUNTED = {"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok", "input_audio_mtok",
           "output_audio_mtok", "input_image_mtok", "output_image_mtok", "web_searches_kcount", "requests_kcount",
           "storage_searches_kcount", "cache_audio_read_mtok", "cache_image_read_mtok"}
PER_PROVIDER = {"openai": 70, "anthropic": 40, "google": 40, "aws": 25, "openrouter": 25}


def usages(price, is_embedding):
    """Calls of different shapes: plain, all classes, and at each limit by length."""
    has = {key for key in COUNTED if getattr(price, key, None) is not None}
    out = 777 if "output_mtok" in has and not is_embedding else None
    yield dict(input=1_843, output=out)
    limits = sorted({tier.start for value in price.__dict__.values() if isinstance(value, TieredPrices) for tier in value.tiers})
    for limit in limits:
        yield dict(input=limit, output=out)
        yield dict(input=limit + 1, output=out)
    full = dict(input=90_001, output=out)
    if "cache_read_mtok" in has:
        full["cache_read"] = 40_003
    if "cache_write_mtok" in has:
        full["cache_write_5m"] = 7_001
    if "cache_write_1h_mtok" in has:
        full["cache_write_1h"] = 3_001
    if "input_audio_mtok" in has:
        full["audio_input"] = 1_001
    if "input_image_mtok" in has:
        full["image_input"] = 501
    if out and "output_audio_mtok" in has:
        full["audio_output"] = 101
    if out and "output_image_mtok" in has:
        full["image_output"] = 301
    if "web_searches_kcount" in has:
        full["web_search"] = 3
    if len(full) > 2:
        yield full


def theirs(usage):
    """A usage as genai-prices counts it: writes of both lengths together, the long ones as a part."""
    long = usage.get("cache_write_1h", 0)
    values = dict(
        input_tokens=usage["input"], output_tokens=usage["output"] or 0, cache_read_tokens=usage.get("cache_read", 0),
        cache_write_tokens=usage.get("cache_write_5m", 0) + long, cache_write_1h_tokens=long,
        input_audio_tokens=usage.get("audio_input", 0), output_audio_tokens=usage.get("audio_output", 0),
        input_image_tokens=usage.get("image_input", 0), output_image_tokens=usage.get("image_output", 0),
        web_searches=usage.get("web_search", 0),
        cache_audio_read_tokens=0, cache_image_read_tokens=0, storage_searches=0,
    )
    return Usage(**values)


def moments(model):
    """Now, the eve and the first day of every dated price, and the ends of its hours."""
    yield NOW
    if isinstance(model.prices, list):
        for conditional in model.prices:
            start = getattr(conditional.constraint, "start_date", None)
            if start:
                first = datetime.datetime.combine(start, datetime.time(), tzinfo=UTC)
                yield first
                yield first - datetime.timedelta(microseconds=1)
            if hasattr(conditional.constraint, "start_time"):
                for time in (conditional.constraint.start_time, conditional.constraint.end_time):
                    first = datetime.datetime.combine(NOW.date(), time)
                    yield first
                    yield first - datetime.timedelta(microseconds=1)


def main():
    warnings.simplefilter("ignore")
    catalog = pathlib.Path(sys.argv[1])
    rows = []
    for provider in providers:
        name = RENAMED.get(provider.id, provider.id)
        file = catalog / f"{name}.yaml"
        if not file.exists():
            continue
        ours = set(re.findall(r"^  - id: \"?(.*?)\"?$", file.read_text(), re.M))
        taken = 0
        for model in provider.models:
            asked = model.id.removeprefix("regional.")
            base = asked.removeprefix("global.")
            if base not in ours or taken >= PER_PROVIDER.get(provider.id, 6):
                continue
            if provider.find_model(asked) is not model and not model.id.startswith("regional."):
                continue
            cases = [(moment, None) for moment in moments(model)]
            tiers = {tier for tier, when in CONTEXT.items() for variant in model.price_variants or () if variant.when == when}
            cases += [(NOW, tier) for tier in sorted(tiers)]
            for moment, tier in cases:
                context = CONTEXT.get(tier)
                price = model.get_prices(moment, context)
                if not isinstance(price, ModelPrice) or not price.__dict__ or not set(price.__dict__) <= COUNTED:
                    continue
                for usage in usages(price, "embed" in model.id.lower()):
                    cost = model.calc_price(theirs(usage), provider, genai_request_timestamp=moment, price_context=context).total_price
                    exact = decimal.Decimal(cost).quantize(decimal.Decimal(1).scaleb(-12), rounding=decimal.ROUND_HALF_EVEN)
                    row = {"provider": name, "model": asked, "at_us": int((moment - datetime.datetime(1970, 1, 1, tzinfo=UTC)) / datetime.timedelta(microseconds=1))}
                    if tier:
                        row["service_tier"] = tier
                    row["usage"] = {key: value for key, value in usage.items() if value is not None}
                    row["usd"] = f"{exact:f}"
                    rows.append(row)
            taken += 1
    print("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]")


main()
