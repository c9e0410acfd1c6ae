"""Every bundle that is shipped fits the published schema, and what is mistyped does not."""

import glob
import json
import os

import jsonschema
import yaml

schema = json.loads(os.environ["SCHEMA"])
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
folder = os.environ["POLICIES"]
files = sorted(glob.glob(f"{folder}/examples/*.yaml")) + [f"{folder}/default.yaml"]
for file in files:
    with open(file) as text:
        # As text: YAML's dates and numbers are words to a bundle.
        bundle = yaml.load(text, Loader=yaml.CSafeLoader)
    bundle = json.loads(json.dumps(bundle, default=str))
    for error in validator.iter_errors(bundle):
        raise SystemExit(f"{file}: {error.json_path}: {error.message}")
    for broken in ({**bundle, "acess": []}, {**bundle, "apiVersion": "tollgate/v9"}, {"bundle": bundle["bundle"]}):
        assert not validator.is_valid(broken), f"{file}: a mistake was not found"
    rule = dict(bundle["access"][0], whne="true")
    assert not validator.is_valid({**bundle, "access": [rule]}), file
print(f"{len(files)} bundles fit the schema")
