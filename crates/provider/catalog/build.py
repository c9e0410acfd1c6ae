"""Writes the price catalogue from two collections of facts; see README.md. Python 3.11, standard library only.

Refuses to guess: a price comes from one of the sources or is not there. A `match` clause of genai-prices becomes exact
names only: what it `equals`, what it `starts_with` where the other source lists the very id, and the dated-snapshot
rule where its own matcher accepts any date. `contains`, `ends_with` and `regex` never name a model by themselves.
"""

import ast
import collections
import datetime
import decimal
import json
import pathlib
import re
import sys
import zipfile

READ = "2026-11-26"
HERE = pathlib.Path(__file__).resolve().parent
DECIMALS = decimal.Context(prec=40)

# Classes of genai-prices and ours.
CLASSES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
    "input_image_mtok": "image_input",
    "output_image_mtok": "image_output",
    "output_reasoning_mtok": "reasoning",
    "web_searches_kcount": "web_search",
    "requests_kcount": "per_request",
}
# What a call's usage does not tell apart; the whole class is billed at the rate of its parent (README.md).
FOLDED = {"cache_audio_read_mtok", "cache_image_read_mtok", "storage_searches_kcount"}
# What a call may use beside tokens: sound by the second, pictures by the piece, speech by the million characters.
UNITS = ["audio_second", "image", "characters"]
UNIT_TEXTS = {"audio_second": "per second of sound", "image": "per picture", "characters": "per million characters spoken"}
ORDER = [*CLASSES.values(), *UNITS]
# Conditions of genai-prices and the service tiers they are here.
TIERS = {("processing", "batch"): "batch", ("speed", "fast"): "fast"}
# Inference profiles of Bedrock. `standard`: the price of the row without a region. `own`: only a row of that name.
PROFILES = {"us": "standard", "eu": "standard", "apac": "standard", "jp": "standard", "au": "standard",
            "ca": "standard", "sa": "standard", "global": "own", "us-gov": "own"}
STANDARD_TIERS = {
    "openai": ["auto", "default", "standard"],
    "azure": ["auto", "default", "standard"],
    "anthropic": ["auto", "standard", "standard_only"],
    "google": ["standard", "default"],
    "vertex": ["standard", "default"],
    "bedrock": ["default", "standard"],
    "groq": ["auto", "on_demand"],
}
# genai-prices' provider, if it is called otherwise here, and the names that also find the file.
RENAMED = {"aws": "bedrock", "x-ai": "xai", "moonshotai": "moonshot", "voyageai": "voyage"}
ALSO = {
    "bedrock": ["amazon-bedrock", "aws"], "xai": ["x-ai"], "moonshot": ["kimi", "moonshotai"],
    "voyage": ["voyageai"], "google": ["gemini", "google-ai-studio"], "vertex": ["google-vertex", "vertex-ai", "vertex_ai"],
    "azure": ["azure-openai", "azure_openai"], "alibaba": ["dashscope", "qwen"], "fireworks": ["fireworks-ai", "fireworks_ai"],
    "together": ["together-ai", "together_ai"], "nvidia": ["nvidia-nim", "nvidia_nim"], "jina": ["jina-ai", "jina_ai"],
    "zai": ["z-ai", "z.ai"], "friendli": ["friendliai"], "oracle": ["oci"], "lambda": ["lambda-ai", "lambda_ai"],
    "digitalocean": ["gradient-ai", "gradient_ai"],
}
# Providers of litellm that are read, and the file they go to.
LITELLM = {
    "openai": "openai", "text-completion-openai": "openai", "anthropic": "anthropic", "gemini": "google",
    "mistral": "mistral", "groq": "groq", "xai": "xai", "deepseek": "deepseek", "zai": "zai", "moonshot": "moonshot",
    "minimax": "minimax", "cohere": "cohere", "cohere_chat": "cohere", "cerebras": "cerebras", "sambanova": "sambanova",
    "perplexity": "perplexity", "fireworks_ai": "fireworks", "fireworks_ai-embedding-models": "fireworks",
    "together_ai": "together", "deepinfra": "deepinfra", "novita": "novita", "nebius": "nebius",
    "hyperbolic": "hyperbolic", "nscale": "nscale", "databricks": "databricks", "voyage": "voyage", "jina_ai": "jina",
    "nvidia_nim": "nvidia", "replicate": "replicate", "ai21": "ai21", "dashscope": "alibaba", "cloudflare": "cloudflare",
    "baseten": "baseten", "ovhcloud": "ovhcloud", "snowflake": "snowflake", "watsonx": "watsonx", "wandb": "wandb",
    "lambda_ai": "lambda", "scaleway": "scaleway", "friendliai": "friendli", "oci": "oracle", "volcengine": "volcengine",
    "bigmodel": "zhipuai", "vercel_ai_gateway": "vercel", "gradient_ai": "digitalocean", "crusoe": "crusoe",
    "tencent": "tencent", "inception": "inception", "morph": "morph", "bedrock": "bedrock",
    "bedrock_converse": "bedrock", "bedrock_mantle": "bedrock", "azure": "azure", "azure_ai": "azure", "vertex_ai": "vertex",
}
MODES = {"chat", "completion", "responses", "embedding", "rerank", "realtime", "audio_speech", "audio_transcription",
         "image_generation", "image_edit", "moderation"}
# Prices of litellm that a token count cannot stand for; a row with one of them is left out.
UNCOUNTED = re.compile(r"per_(second|character|image$|image_\d|pixel|video|page|query|session|credit|text_message)|ocr_|citation_cost")
# Prices of the provider's own tools: what calls them is counted apart.
TOOLS = {"search_context_cost_per_query", "google_maps_grounding_cost_per_query", "code_interpreter_cost_per_session"}
AWS_REGION = re.compile(r"^[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-\d$")
VERSION = re.compile(r"^(-\d{8}|-\d{4}-\d{2}-\d{2}|@\d{8}|@default|@\d{3}|-\d{3})?(-v\d+)?(:\d+)?$")


# === genai-prices ===

def evaluate(node):
    """The literal a node of genai-prices' data module stands for: calls become `(name, arguments)`."""
    match node:
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple():
            return [evaluate(item) for item in node.elts]
        case ast.Dict():
            return {evaluate(key): evaluate(value) for key, value in zip(node.keys, node.values)}
        case ast.Attribute():
            return node.attr
        case ast.Call(func=func):
            name = func.id if isinstance(func, ast.Name) else func.attr
            arguments = [evaluate(item) for item in node.args]
            named = {item.arg: evaluate(item.value) for item in node.keywords}
            match name:
                case "Decimal":
                    return decimal.Decimal(arguments[0])
                case "date":
                    return datetime.date(*arguments)
                case "time":
                    return datetime.time(*arguments)
            return (name, named)
    raise ValueError(ast.dump(node))


def read_genai(wheel):
    with zipfile.ZipFile(wheel) as archive:
        module = ast.parse(archive.read("genai_prices/data.py"))
    for statement in module.body:
        if isinstance(statement, ast.AnnAssign) and statement.target.id == "providers":
            providers = [fields for _, fields in evaluate(statement.value)]
            for provider in providers:
                provider["models"] = [fields for _, fields in provider.get("models", [])]
            return providers
    raise ValueError("the wheel holds no `providers`")


def matches(clause, text):
    """genai-prices' own matcher, to learn which model it means; what may name a model here is decided elsewhere."""
    kind, fields = clause
    lowered = text.lower()
    match kind:
        case "ClauseEquals":
            return lowered == fields["equals"].lower()
        case "ClauseStartsWith":
            return lowered.startswith(fields["starts_with"].lower())
        case "ClauseEndsWith":
            return lowered.endswith(fields["ends_with"].lower())
        case "ClauseContains":
            return fields["contains"].lower() in lowered
        case "ClauseRegex":
            return re.search(fields["regex"], lowered) is not None
        case "ClauseOr":
            return any(matches(item, text) for item in fields["or_"])
        case "ClauseAnd":
            return all(matches(item, text) for item in fields["and_"])
    raise ValueError(kind)


def literals(clause, kind, field):
    found, fields = clause
    if found == kind:
        return [fields[field]]
    return [text for item in fields.get("or_", []) + fields.get("and_", []) for text in literals(item, kind, field)]


def find_genai(models, name):
    found = next((model for model in models if matches(model["match"], name)), None)
    if found is None:
        dashed = re.sub(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)", r"-\1-\2-\3", name)
        found = next((model for model in models if matches(model["match"], dashed)), None)
    return found


def genai_rows(model, report):
    """All rows of a model, or none if a part of its price cannot be counted."""
    listed = model.get("prices", [])
    if isinstance(listed, tuple):
        listed = [("ConditionalPrice", {"prices": listed})]
    listed = [fields for _, fields in listed]
    variants = collections.defaultdict(list)
    for _, variant in model.get("price_variants") or []:
        when = list(variant["when"].items())
        tier = TIERS.get(when[0]) or (when[0][1] if when[0][0] == "service_tier" else None)
        if len(when) == 1 and tier:
            variants[tier].append(variant)
        else:
            report["conditions left out"].append(f"{model['id']}: {variant['when']}")
    # It writes no tokens; with a rate for them the cost would wait for a count that never comes.
    is_embedding = "embed" in model["id"].lower()
    keys = {key for fields in listed for key in fields["prices"][1]}
    keys |= {key for tier in variants.values() for variant in tier for key in variant["prices"][1]}
    if not keys:
        return []
    uncounted = keys - CLASSES.keys() - FOLDED
    if uncounted:
        report["models left out, priced by what is not counted"].append(f"{model['id']}: {', '.join(sorted(uncounted))}")
        return []

    def active(constraint, day, hours):
        if constraint is None:
            return True
        kind, fields = constraint
        if kind == "StartDateConstraint":
            return fields["start_date"] <= day
        return fields == hours

    def standard(day, hours):
        for fields in reversed(listed):
            if active(fields.get("constraint"), day, hours):
                return fields["prices"][1]
        return listed[0]["prices"][1]

    def starts(items):
        constraints = [item.get("constraint") for item in items]
        return {fields["start_date"] for kind, fields in filter(None, constraints) if kind == "StartDateConstraint"}

    spans = [fields["constraint"][1] for fields in listed
             if (fields.get("constraint") or ("",))[0] == "TimeOfDateConstraint"]
    rows = []
    previous = None
    for day in [datetime.date.min, *sorted(starts(listed))]:
        here = [({}, standard(day, None))]
        here += [({"hours_utc": f"{span['start_time']:%H:%M}-{span['end_time']:%H:%M}"}, standard(day, span)) for span in spans]
        if here != previous:
            rows += [{"from": day, **condition, **flatten(prices, is_embedding)} for condition, prices in here]
        previous = here
    for tier, items in sorted(variants.items()):
        if all(not item["prices"][1] for item in items):
            continue  # The tier is said to cost the same.
        first = min(item["constraint"][1]["start_date"] if item.get("constraint") else datetime.date.min for item in items)
        previous = None
        for day in sorted(day for day in {datetime.date.min, *starts(listed), *starts(items)} if day >= first):
            prices = dict(standard(day, None))
            chosen = {}
            for item in items:
                if active(item.get("constraint"), day, None):
                    for key, price in item["prices"][1].items():
                        chosen.setdefault(key, price)
            prices.update(chosen)
            if prices != previous:
                rows.append({"from": day, "service_tier": tier, **flatten(prices, is_embedding)})
            previous = prices
    return rows


def flatten(prices, is_embedding=False):
    """Rates of a row and, where a price has tiers by length, the complete rates of each."""
    prices = {key: price for key, price in prices.items() if key in CLASSES and not (is_embedding and key == "output_mtok")}
    limits = sorted({tier["start"] for price in prices.values() if isinstance(price, tuple) for _, tier in price[1]["tiers"]})

    def at(limit):
        rates = {}
        for key, price in prices.items():
            if isinstance(price, tuple):
                reached = [tier["price"] for _, tier in price[1]["tiers"] if limit is not None and tier["start"] <= limit]
                price = reached[-1] if reached else price[1]["base"]
            rates[CLASSES[key]] = price
        return tidy(rates)

    row = {"rates": at(None)}
    if limits:
        row["above"] = [(limit, at(limit)) for limit in limits]
    return row


def tidy(rates):
    """Without the rates that say what the rule says anyway: an image or reasoning token at the ordinary rate."""
    for name, parent in [("image_input", "input"), ("image_output", "output"), ("reasoning", "output")]:
        if name in rates and rates[name] == rates.get(parent):
            del rates[name]
    return rates


# === litellm ===

def read_litellm(wheel):
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("litellm/model_prices_and_context_window_backup.json")
    return json.loads(text, parse_float=decimal.Decimal)


def place(key, entry):
    """File, id and region of an entry; `None` if it is not read."""
    kind = entry.get("litellm_provider") or ""
    provider = "vertex" if kind.startswith("vertex_ai") else LITELLM.get(kind)
    if provider is None or "commitment" in key or key.startswith("ft:"):
        return None
    region = None
    name = re.sub(rf"^({re.escape(kind)}|bedrock|vertex_ai|azure|azure_ai|cohere|gemini|fireworks_ai|dashscope)/", "", key)
    if provider == "bedrock":
        first, _, rest = name.partition("/")
        if AWS_REGION.match(first):
            region, name = first, rest
        first, _, rest = name.partition(".")
        if first in PROFILES:
            region, name = first, rest
        if "/" in name or "." not in name:
            return None
    if provider == "azure":
        first, _, rest = name.partition("/")
        if first in ("apac", "eu", "us", "us-gov"):
            region, name = first, rest
        if first in ("global", "global-standard"):
            name = rest
    if provider in ("fireworks", "together") and re.match(r"^(fireworks|together)-ai-", name):
        return None
    return provider, name, region


def unit_rows(provider, entry):
    """Of a model that is sold by one unit beside tokens, and by nothing else; what depends on a size or a quality, or has a
    least amount (Groq bills ten seconds at least), is not."""
    costs = {field: decimal.Decimal(value) for field, value in entry.items() if "cost" in field and field not in TOOLS and isinstance(value, (int, decimal.Decimal)) and value}
    mode = entry.get("mode")
    rate = None
    if mode == "audio_transcription" and provider != "groq" and costs.keys() <= {"input_cost_per_second", "output_cost_per_second"}:
        # Some state the one price twice.
        if len(set(costs.values())) == 1:
            rate = ("audio_second", costs.get("input_cost_per_second"))
    elif mode == "audio_speech" and costs.keys() == {"input_cost_per_character"}:
        rate = ("characters", costs["input_cost_per_character"] * 1_000_000)
    elif mode in ("image_generation", "image_edit") and len(costs) == 1 and costs.keys() <= {"output_cost_per_image", "input_cost_per_image"}:
        rate = ("image", *costs.values())
    if rate is None or rate[1] is None:
        return []
    return [{"from": datetime.date.min, "rates": {rate[0]: rate[1]}}]


def litellm_rows(provider, key, entry):
    if entry.get("mode") not in MODES:
        return []
    # A name with a size is a price of another model under some condition.
    units = unit_rows(provider, entry) if "-x-" not in key else []
    if units:
        return units
    if provider in ("openai", "azure") and entry.get("output_cost_per_token") and entry.get("input_cost_per_audio_token"):
        # Sold by the token; the price by the second beside it is the vendor's own estimate.
        entry = {field: value for field, value in entry.items() if field != "input_cost_per_second"}
    if any(UNCOUNTED.search(field) for field, value in entry.items() if "cost" in field and field not in TOOLS and value):
        return []
    per_token = {field: value for field, value in entry.items() if re.match(r"(in|out)put_cost_per_\w*token|cache_", field)}
    tiered = entry.get("tiered_pricing")
    if tiered:
        return tiered_rows(tiered)
    if not any(per_token.values()):
        return []

    def rates(tier, above):
        between = f"_above_{above}k_tokens" if above else ""
        names = {
            "input": "input_cost_per_token", "output": "output_cost_per_token",
            "cache_read": "cache_read_input_token_cost", "cache_write_5m": "cache_creation_input_token_cost",
            "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
            "audio_input": "input_cost_per_audio_token", "audio_output": "output_cost_per_audio_token",
            "image_input": "input_cost_per_image_token", "image_output": "output_cost_per_image_token",
            "reasoning": "output_cost_per_reasoning_token",
        }
        found = {name: entry.get(field + between + tier) for name, field in names.items()}
        found = {name: DECIMALS.multiply(decimal.Decimal(value), 1_000_000) for name, value in found.items() if value is not None}
        if found.get("output") == 0 and entry["mode"] in ("embedding", "rerank", "moderation"):
            del found["output"]
        for name in ("cache_read", "cache_write_5m", "cache_write_1h", "image_input", "image_output", "audio_input", "audio_output", "reasoning"):
            if found.get(name) == 0:
                del found[name]  # Zero stands for unknown as often as for free.
        if found.get("cache_write_5m", 1_000_000) < found.get("input", 0):
            del found["cache_write_5m"]  # A read's price in the wrong field: nobody sells writes below input.
        if "input" in found:
            search = entry.get("search_context_cost_per_query") or {}
            if len(set(search.values())) == 1 and len(search) == 3 and all(search.values()):
                found["web_search"] = decimal.Decimal(next(iter(search.values()))) * 1000
            if entry.get("input_cost_per_request"):
                found["per_request"] = decimal.Decimal(entry["input_cost_per_request"]) * 1000
        return tidy(found)

    limits = sorted({int(number) for field in entry for number in re.findall(r"^input_cost_per_token_above_(\d+)k_tokens", field)})
    rows = []
    for tier, suffix in [(None, ""), ("batch", "_batches"), ("flex", "_flex"), ("priority", "_priority")]:
        base = rates(suffix, None)
        above = [(limit * 1000, rates(suffix, limit)) for limit in limits]
        complete = all(name in base for name in ("input", "output") if tier is None or name in rows[0]["rates"]) if rows or tier is None else False
        if tier is None:
            if "input" not in base or (base["input"] == 0 and not base.get("output")):
                return []
            if not base.get("output") and entry["mode"] not in ("embedding", "rerank", "moderation"):
                return []
        elif not complete or base["input"] == 0:
            continue
        # A long prompt whose price in this tier is not stated has no price in this tier.
        if any("input" not in longer or ("output" in base and "output" not in longer) for _, longer in above):
            if tier is None:
                return []
            continue
        row = {"from": datetime.date.min, "rates": base}
        if above:
            row["above"] = above
        if tier:
            row["service_tier"] = tier
        rows.append(row)
    uplift = entry.get("regional_endpoint_uplift_multiplier")
    if uplift:
        rows += [times(row, decimal.Decimal(uplift)) for row in list(rows)]
    return rows


def tiered_rows(tiered):
    steps = []
    for step in tiered:
        rates = {"input": step.get("input_cost_per_token"), "output": step.get("output_cost_per_token"),
                 "cache_read": step.get("cache_read_input_token_cost")}
        rates = {name: DECIMALS.multiply(decimal.Decimal(value), 1_000_000) for name, value in rates.items() if value is not None}
        if "range" not in step or "input" not in rates or "output" not in rates:
            return []
        steps.append((int(step["range"][0]), rates))
    steps.sort(key=lambda step: step[0])
    if not steps or steps[0][0] != 0 or not steps[0][1]["input"]:
        return []
    row = {"from": datetime.date.min, "rates": steps[0][1]}
    if steps[1:]:
        row["above"] = steps[1:]
    return [row]


def times(row, factor):
    """A row for regional endpoints: tokens dearer by a factor that the source states, searches as before."""
    def scaled(rates):
        return {name: rate if name in ("web_search", "per_request") else DECIMALS.multiply(rate, factor) for name, rate in rates.items()}
    row = {**row, "region": "regional", "rates": scaled(row["rates"])}
    if "above" in row:
        row["above"] = [(limit, scaled(rates)) for limit, rates in row["above"]]
    return row


# === together ===

class File:
    """One provider: models by their first name, and who owns which name."""

    def __init__(self, name, title, source):
        self.name, self.title, self.source = name, title, source
        self.models = []
        self.owner = {}

    def claim(self, model, name):
        owner = self.owner.setdefault(name, model)
        if owner is model and name not in model["names"]:
            model["names"].append(name)
        return owner is model

    def add(self, names, rows, **fields):
        model = {"names": [], "rows": rows, "origin": "litellm", **fields}
        taken = [name for name in names if self.claim(model, name)]
        if taken:
            self.models.append(model)
        return model


def today(rows):
    """The standard rates in force on the day of reading, with the tiers by length."""
    day = datetime.date.fromisoformat(READ)
    standard = [row for row in rows if not {"service_tier", "region", "hours_utc"} & row.keys() and row["from"] <= day]
    return max(standard, key=lambda row: row["from"]) if standard else None


def agree(ours, theirs):
    if ours is None or theirs is None:
        return False
    return all(ours["rates"].get(name, decimal.Decimal(0)) == theirs["rates"].get(name, decimal.Decimal(0)) for name in ("input", "output"))


def bedrock_base(name):
    for prefix in ("regional.", *(f"{profile}." for profile in PROFILES)):
        if name.startswith(prefix):
            return name[len(prefix):]
    return name


def add_genai(files, providers, report):
    for provider in providers:
        name = RENAMED.get(provider["id"], provider["id"])
        urls = provider.get("pricing_urls") or ["https://github.com/pydantic/genai-prices"]
        file = files.setdefault(name, File(name, provider["name"], urls[0]))
        if name == "google":
            files["vertex"] = File("vertex", "Google Vertex AI", "https://cloud.google.com/vertex-ai/generative-ai/pricing")
        file.genai = provider["models"]
        for rank in ("id", "equals", "starts_with"):
            for model in provider["models"]:
                if "rows" not in model:
                    model["rows"] = genai_rows(model, report)
                if model["rows"]:
                    name_genai(files, file, provider, model, rank)


def name_genai(files, file, provider, model, rank):
    """Gives a model its exact names: in three rounds, so that what one model equals is never what another begins with."""
    if rank == "id":
        names = [model["id"]]
    elif rank == "equals":
        names = literals(model["match"], "ClauseEquals", "equals")
    else:
        names = literals(model["match"], "ClauseStartsWith", "starts_with")
        names = [name for name in names if not re.search(r"[-.:@/]$|-20\d{2,7}$", name) or re.search(r"-20\d{6}$", name)]
    homes = [file]
    if file.name == "google":
        homes = [files["vertex"]] if model["id"].startswith("claude") else [file, files["vertex"]]
    for home in homes:
        own = model.setdefault("own", {})
        if home.name == "bedrock" and home.name not in own:
            own[home.name] = bedrock_model(home, model)
        elif home.name not in own:
            own[home.name] = {"names": [], "rows": model["rows"], "origin": "genai", "context": model.get("context_window"),
                              "dated": is_dated(provider["models"], model)}
            home.models.append(own[home.name])
        for name in names:
            if home.name == "bedrock":
                name = bedrock_base(name)
                if "." not in name or name.startswith("claude"):
                    continue
            if rank == "id" or find_genai(provider["models"], name) is model or home.name == "bedrock":
                home.claim(own[home.name], name)


def bedrock_model(home, model):
    """`global.x` and `regional.x` are one model with two regions."""
    base = bedrock_base(model["id"])
    rows = model["rows"]
    if model["id"].startswith("global."):
        rows = [{**row, "region": "global"} for row in rows]
    if base in home.owner:
        home.owner[base]["rows"] = home.owner[base]["rows"] + rows
        return home.owner[base]
    own = {"names": [], "rows": rows, "origin": "genai", "context": model.get("context_window"), "dated": False}
    home.models.append(own)
    home.claim(own, base)
    return own


def is_dated(models, model):
    """Whether genai-prices takes any date behind the id for the same model."""
    shapes = [("2026-11-11", "2025-02-03"), ("20261111", "20250203")]
    return any(all(find_genai(models, f"{model['id']}-{date}") is model for date in dates) for dates in shapes)


def add_litellm(files, entries, report):
    grouped = collections.defaultdict(dict)
    limits = {}
    for key, entry in entries.items():
        placed = place(key, entry)
        if placed is None:
            continue
        provider, name, region = placed
        limits.setdefault((provider, name), entry)
        rows = litellm_rows(provider, key, entry)
        if rows:
            source = entry.get("source") or "https://github.com/BerriAI/litellm"
            grouped[provider, name].setdefault(region, ([{**row, "source": source} for row in rows], entry))
    for (provider, name), regions in sorted(grouped.items()):
        title = next((entry["litellm_provider"] for _, entry in regions.values()), provider)
        file = files.setdefault(provider, File(provider, title, None))
        owner = owner_of(file, files, name, regions, report)
        if owner is None:
            add_own(file, name, regions)
        else:
            add_regions(file, owner, name, regions, report)
    for file in files.values():
        for model in file.models:
            entry = next((limits[file.name, name] for name in model["names"] if (file.name, name) in limits), None)
            if entry:
                model["max_output"] = whole(entry.get("max_output_tokens"))
                model["context"] = model.get("context") or whole(entry.get("max_input_tokens"))


def whole(value):
    return int(value) if isinstance(value, (int, decimal.Decimal)) and value > 0 else None


def owner_of(file, files, name, regions, report):
    """The model of genai-prices an id of litellm is, or `None` if it is a model of its own."""
    folded = {known.lower(): known for known in reversed(file.owner)}
    if name in file.owner or name.lower() in folded:
        owner = file.owner[folded.get(name.lower(), name)]
        file.claim(owner, name)
        return owner
    genai = getattr(files["google"] if file.name == "vertex" else file, "genai", None)
    found = genai and find_genai(genai, name)
    if not found or not found["rows"] or file.name not in found.get("own", {}):
        return None
    owner = found["own"][file.name]
    theirs = today(regions.get(None, next(iter(regions.values())))[0])
    begins = [text for text in literals(found["match"], "ClauseStartsWith", "starts_with") if name.startswith(text)]
    if agree(today(owner["rows"]), theirs) or any(VERSION.match(name[len(text):]) for text in begins):
        file.claim(owner, name)
        return owner
    report["ids that genai-prices takes for another model at another price (kept apart)"].append(
        f"{file.name}/{name}: taken for {found['id']} at {shown(today(owner['rows']))}, litellm {shown(theirs)}")
    return None


def shown(row):
    if row is None:
        return "no standard price"
    return "/".join(amount(row["rates"].get(name, decimal.Decimal(0))) for name in ("input", "output"))


def add_own(file, name, regions):
    rows = list(regions.get(None, ([], None))[0])
    standard = today(rows)
    for region, (there, _) in sorted(regions.items(), key=lambda item: item[0] or ""):
        if region is not None:
            same = standard is not None and PROFILES.get(region) != "own" and bare(there) == bare(rows)
            rows += [] if same else [{**row, "region": region} for row in there if "region" not in row]
    file.add([name], rows)


def bare(rows):
    return [{key: value for key, value in row.items() if key not in ("source", "region")} for row in rows]


def add_regions(file, owner, name, regions, report):
    """Notes where litellm says otherwise, and takes regions and tiers that genai-prices knows nothing of."""
    theirs = regions.get(None)
    ours = today(owner["rows"])
    if theirs and ours and owner["origin"] == "genai":
        compare(file, owner, name, ours, today(theirs[0]), report)
        known = {row.get("service_tier") for row in owner["rows"] if "region" not in row}
        if agree(ours, today(theirs[0])):
            complete(file, owner, name, ours, today(theirs[0]), report)
            owner["rows"] = owner["rows"] + [row for row in theirs[0] if "service_tier" in row and row["service_tier"] not in known and "region" not in row]
            if not any(row.get("region") == "regional" for row in owner["rows"]):
                owner["rows"] = owner["rows"] + [row for row in theirs[0] if row.get("region") == "regional"]
    for region, (there, _) in sorted(regions.items(), key=lambda item: item[0] or ""):
        if region is None or any(row.get("region") == region for row in owner["rows"]):
            continue
        there = [{**row, "region": region} for row in there if "region" not in row]
        if file.name == "bedrock" and PROFILES.get(region) == "standard" and ours and owner["origin"] == "genai":
            compare(file, owner, f"{region}.{name}", ours, {**there[0]}, report)
        elif not (ours and agree(ours, there[0]) and PROFILES.get(region) != "own"):
            owner["rows"] = owner["rows"] + there


def complete(file, owner, name, ours, theirs, report):
    """Takes classes that only litellm states into the row in force, where both agree on the rest."""
    if [limit for limit, _ in ours.get("above", [])] != [limit for limit, _ in theirs.get("above", [])]:
        return
    missing = [rate for rate in ("cache_write_1h", "web_search") if rate in theirs["rates"] and rate not in ours["rates"]]
    if "cache_write_5m" not in ours["rates"]:
        missing = [rate for rate in missing if rate != "cache_write_1h"]
    if not missing:
        return
    report["classes taken from litellm into a row of genai-prices"].append(f"{file.name}/{name}: {', '.join(missing)}")

    def filled(rates, other):
        return {**rates, **{rate: other[rate] for rate in missing if rate in other}}

    row = {**ours, "rates": filled(ours["rates"], theirs["rates"])}
    if "above" in ours:
        row["above"] = [(limit, filled(rates, other)) for (limit, rates), (_, other) in zip(ours["above"], theirs["above"])]
    owner["rows"] = [row if known is ours else known for known in owner["rows"]]


def compare(file, owner, name, ours, theirs, report):
    if theirs is None:
        return
    for rate in ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h"):
        a, b = ours["rates"].get(rate), theirs["rates"].get(rate)
        if a is not None and b is not None and a != b:
            rounded = abs(a - b) * 200 <= a
            report["the sources disagree by rounding (genai-prices kept)" if rounded else "the sources disagree (genai-prices kept)"].append(f"{file.name}/{name} {rate}: genai-prices {amount(a)}, litellm {amount(b)}")


# === writing ===

def amount(value):
    text = f"{DECIMALS.quantize(value, decimal.Decimal(1).scaleb(-12)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def quoted(text):
    return text if re.fullmatch(r"[A-Za-z][A-Za-z0-9._/-]*", text) and text.lower() not in ("true", "false", "null", "yes", "no", "on", "off", "y", "n") else json.dumps(text)


def rates_text(rates):
    return ", ".join(f'{name}: "{amount(rates[name])}"' for name in ORDER if name in rates)


def row_text(row, names):
    parts = [f"from: {'release' if row['from'] == datetime.date.min else row['from']}"]
    parts += [f"{key}: {quoted(row[key])}" for key in ("service_tier", "region") if key in row]
    if "hours_utc" in row:
        parts.append(f'hours_utc: "{row["hours_utc"]}"')
    if row.get("source") in names:
        parts.append(f"source: {names[row['source']]}")
    parts.append(rates_text(row["rates"]))
    if "above" in row:
        tiers = ", ".join(f"{{input_tokens: {limit}, {rates_text(rates)}}}" for limit, rates in row["above"])
        parts.append(f"above: [{tiers}]")
    return f"      - {{{', '.join(parts)}}}\n"


def file_text(file, versions):
    counted = collections.Counter(row["source"] for model in file.models for row in model["rows"] if "source" in row)
    default = file.source or counted.most_common(1)[0][0]
    names = {source: f"s{index}" for index, source in enumerate(sorted(source for source in counted if source != default), 1)}
    origin = " and ".join(versions[key] for key in ("genai", "litellm") if any(key == ("litellm" if "source" in row else "genai") for model in file.models for row in model["rows"]))
    units = {name for model in file.models for row in model["rows"] for name in row["rates"] if name in UNITS}
    beside = f"# Also here: {', '.join(f'`{name}` {UNIT_TEXTS[name]}' for name in UNITS if name in units)}.\n"
    lines = [
        f"# Prices of {file.title}, US dollars per million tokens (`web_search` and `per_request`: per thousand). Facts from the\n",
        f"# pages named below as collected by {origin}; read on {READ}.\n",
        "# Written by build.py from those packages; a correction belongs there or in `catalog.prices`. README.md has the rules.\n",
        f"provider: {file.name}\n",
    ]
    if units:
        lines.insert(3, beside)
    if file.name in ALSO:
        lines.append(f"also_called: [{', '.join(ALSO[file.name])}]\n")
    lines.append(f"source: {json.dumps(default) if ' ' in default or '#' in default else default}\nchecked: {READ}\n")
    if names:
        lines.append("sources:\n")
        lines += [f"  {name}: {json.dumps(source)}\n" for source, name in names.items()]
    tiers = STANDARD_TIERS.get(file.name, ["auto", "default", "standard"])
    lines.append(f"standard_tiers: [{', '.join(tiers)}]\n")
    if file.name == "bedrock":
        lines.append(f"profiles: {{{', '.join(f'{name}: {kind}' for name, kind in PROFILES.items())}}}\n")
    if file.name == "vertex":
        lines.append("standard_regions: [global]\nother_regions: regional\n")
    lines.append("models:\n")
    for model in sorted(file.models, key=lambda model: model["names"][0]):
        lines.append(f"  - id: {quoted(model['names'][0])}\n")
        if model["names"][1:]:
            lines.append(f"    aliases: [{', '.join(quoted(name) for name in sorted(model['names'][1:]))}]\n")
        if model.get("dated"):
            lines.append("    dated_snapshots: true\n")
        if not any(rate for row in model["rows"] for rate in row["rates"].values()):
            lines.append("    free: true\n")
        if model.get("context"):
            lines.append(f"    context_tokens: {model['context']}\n")
        if model.get("max_output"):
            lines.append(f"    max_output_tokens: {model['max_output']}\n")
        lines.append("    prices:\n")
        rows = sorted(model["rows"], key=lambda row: (row.get("region", ""), row.get("service_tier", ""), row["from"], row.get("hours_utc", "")))
        lines += [row_text(row, names) for row in rows]
    return "".join(lines)


def table_text(files):
    """The Rust table of the files that come with the program."""
    names = sorted([*files, "sandbox"])
    index = {name: at for at, name in enumerate(names)}
    known = sorted([(name, index[name]) for name in names] + [(also, index[name]) for name, others in ALSO.items() if name in index for also in others])
    lines = ["//! Catalogue files that come with the program. Written by `catalog/build.py`.\n\n",
             "/// Name and text of each file, in the order of the names.\n",
             f"pub(super) const FILES: [(&str, &str); {len(names)}] = [\n"]
    lines += [f'    ("{name}", include_str!("../../catalog/{name}.yaml")),\n' for name in names]
    lines += ["];\n\n", "/// Every name a provider goes by, sorted, and its place in [`FILES`].\n",
              f"pub(super) const NAMES: [(&str, usize); {len(known)}] = [\n"]
    lines += [f'    ("{name}", {at}),\n' for name, at in known]
    return "".join([*lines, "];\n"])


def main():
    wheels = [pathlib.Path(argument) for argument in sys.argv[1:]]
    if len(wheels) != 2:
        sys.exit("usage: build.py GENAI_PRICES.whl LITELLM.whl")
    genai, litellm = wheels
    versions = {"genai": f"genai-prices {genai.name.split('-')[1]} (pydantic, MIT)", "litellm": f"litellm {litellm.name.split('-')[1]} (BerriAI, MIT)"}
    report = collections.defaultdict(list)
    files = {}
    add_genai(files, read_genai(genai), report)
    add_litellm(files, read_litellm(litellm), report)
    for file in files.values():
        file.models = [model for model in file.models if model["names"] and model["rows"]]
    files = {name: file for name, file in sorted(files.items()) if file.models}
    for old in HERE.glob("*.yaml"):
        if old.name != "sandbox.yaml":
            old.unlink()
    for name, file in files.items():
        (HERE / f"{name}.yaml").write_text(file_text(file, versions))
    (HERE.parent / "src/price/builtin.rs").write_text(table_text(files))
    for heading, items in sorted(report.items()):
        print(f"== {heading}: {len(items)}")
        print("".join(f"{item}\n" for item in sorted(items)))
    models = sum(len(file.models) for file in files.values())
    rows = sum(len(model["rows"]) for file in files.values() for model in file.models)
    print(f"{len(files)} providers, {models} models, {rows} price rows")


if __name__ == "__main__":
    main()
