//! What is said of broken bundles, word for word: each message names the thing, the place once, and what to write.

use super::refusal;

/// Two lines.
const HEAD: &str = "apiVersion: tollgate/v1\nbundle: {name: t}\n";
/// Four lines, of which `HEAD` is two.
const ACCESS: &str = "apiVersion: tollgate/v1\nbundle: {name: t}\naccess:\n  - {id: all, when: 'true', allow: {}}\n";

#[rustfmt::skip]
const BELOW_HEAD: &[(&str, &str)] = &[
    ("access:\n	- id: a\n	  when: 'true'\n	  allow: {}\n",
     "line 4, column 2: a tab cannot indent; write spaces"),
    ("access:\n  - id: a\n    when: 'true'\n    when: 'false'\n    allow: {}\n",
     "line 6, column 5: `when` is written here a second time; write it once"),
    ("access:\n  - {id: a, when: *cond, allow: {}}\n",
     "line 4, column 19: `*…` stands for a value that no `&…` before it names; write the value itself"),
    ("access:\n  - &rule {id: a, when: 'request.modl == \"x\"', allow: {}}\n",
     "line 4, column 26: unknown variable `request.modl`; did you mean `request.model`?"),
    ("access:\n  - &rule {id: a, when: 'true', allow: {}}\n  - *rule\n",
     "line 5, column 5: two rules have the id `a`"),
    ("access:\n  - id: a\n    when: &w 'true'\n    allow: *w\n",
     "line 6, column 12: expected fields: `{name: value}`, or lines of `name: value`; the value comes from line 5, column 14"),
    ("access:\n  - {id: a, when: 'principal.team == ', allow: {}}\n",
     "line 4, column 38: the condition cannot be read: it ends where something has to follow"),
    ("access:\n  - {id: a, when: 'principal.team = \"x\"', allow: {}}\n",
     "line 4, column 35: the condition cannot be read: write `==` for `=`"),
    ("access:\n  - {id: a, when: 'principal.team == \"x\" and request.stream', allow: {}}\n",
     "line 4, column 42: the condition cannot be read: write `&&` for `and`"),
    ("access:\n  - {id: a, when: 'principal.team == \"x', allow: {}}\n",
     "line 4, column 38: the condition cannot be read: a text begins with \" and does not end; close it with \""),
    ("access:\n  - [a, b]\n",
     "line 4, column 5: expected fields: `{name: value}`, or lines of `name: value`"),
    ("access:\n  - id: a\n    when:\n    allow: {}\n",
     "line 5, column 5: nothing is written here; expected a condition, a list of conditions, `{all: [...]}` or `{any: [...]}`"),
    ("access: [{id: a, when: 'true', allow: {}}\n",
     "line 3, column 9: `[` is opened here and never closed"),
    ("access:\n  - {id: a, when: 'true, allow: {}}\n",
     "line 4, column 19: a quote is opened here and never closed"),
    ("access:\n  - id: a\n    when: 'true'\n   allow: {}\n",
     "line 6, column 4: this line fits none of those above it: look at how far it is indented, and for a bracket or quote before it"),
    ("access:\n  - id: a\n    when: 'true'\n    deny: no: never\n",
     "line 6, column 13: there is a second `: ` on the line; put a text that holds `: ` in quotes"),
    ("access:\n  - {id: a, when: 'true', allow: {operations: [chatt]}}\n",
     "line 4, column 48: unknown value `chatt`; did you mean `chat`?"),
    ("access:\n  - {id: a, when: 'true', allow: {models: assistant}}\n",
     "line 4, column 43: expected a list: `[…]`, or lines that begin with `- `"),
    ("access:\n  - {id: a, when: 'true', allow: {models: ['*-mini']}}\n",
     "line 4, column 44: `*-mini` is not a model; write its name, or a prefix that ends in `*`"),
    ("on_error: allow\naccess:\n  - {id: all, when: 'true', allow: {}}\n",
     "line 3, column 11: unknown value `allow`; write `deny`"),
    ("access:\n  - {id: a, when: 5, allow: {}}\n",
     "line 4, column 13: expected a condition, a list of conditions, `{all: [...]}` or `{any: [...]}`, not `5`"),
    ("access:\n  - {id: a, when: {some: ['true']}, allow: {}}\n",
     "line 4, column 20: unknown field `some`; write one of `all`, `any`"),
    ("access:\n  - {id: a, when: 'true', allow: {}}\n  - {id: b, when: 'request.stream', deny: }\n",
     "line 5, column 10: rule `b` does nothing; write `allow: {}` for every model, or `deny: \"what to tell the caller\"`"),
    ("data_classes: [{class: secret}]\naccess:\n  - {id: a, when: 'request.data_class == \"sekret\"', allow: {}}\n",
     "line 5, column 42: `request.data_class` is never `sekret`; did you mean `secret`?"),
    ("access:\n  - id: a\n    when: >\n      principal.team == \"x\" &&\n      request.modl == \"y\"\n    allow: {}\n",
     "line 6, column 7: unknown variable `request.modl`; did you mean `request.model`?"),
];

#[rustfmt::skip]
const BELOW_ACCESS: &[(&str, &str)] = &[
    ("access:\n  - {id: b, when: 'true', allow: {}}\n",
     "line 5, column 1: `access` is written here a second time; write it once"),
    ("budgets:\n  - id: b\n    scope: {team: '*'}\n    limit: {usd: 1, per: month}\n    steps: [{at: 1.0, deny: no}]\n    max_snapshot_age: 5 minutes\n",
     "line 10, column 23: `5 minutes` is not a length of time; write it as `90s`, `5m`, `1h` or `1d`"),
    ("budgets:\n  - id: b\n    scope: {team: '*'}\n    limit: {usd: 1, per: month}\n    steps: [{at: 1.0, deny: no}]\n    max_snapshot_age: 300\n",
     "line 10, column 23: `300` is not a length of time; write it as `90s`, `5m`, `1h` or `1d`"),
    ("budgets:\n  - id: b\n    scope: {team: '*'}\n    limit: {usd: 0.1234567890123456789, per: month}\n    steps: [{at: 1.0, deny: no}]\n",
     "line 8, column 18: `0.1234567890123456789` is not an amount in US dollars; write digits with at most twelve decimal places, such as `1250.00`"),
    ("budgets:\n  - id: b\n    scope: {team: '*'}\n    limit: {usd: 1e3, per: month}\n    steps: [{at: 1.0, deny: no}]\n",
     "line 8, column 18: `1e3` is not an amount in US dollars; write digits with at most twelve decimal places, such as `1250.00`"),
    ("budgets:\n  - id: b\n    scope: {team: '*'}\n    limit: {usd: $100, per: month}\n    steps: [{at: 1.0, deny: no}]\n",
     "line 8, column 18: `$100` is not an amount in US dollars; write digits with at most twelve decimal places, such as `1250.00`"),
    ("budgets:\n  - id: b\n    scope: {team: '*'}\n    limit: {usd: -5, per: month}\n    steps: [{at: 1.0, deny: no}]\n",
     "line 8, column 18: a limit of -5.00 USD is not between zero and a billion"),
    ("budgets:\n  - id: b\n    scope: {team: '*'}\n    limit: {usd: \"1,000.00\", per: month}\n    steps: [{at: 1.0, deny: no}]\n",
     "line 8, column 18: `1,000.00` is not an amount in US dollars; write digits with at most twelve decimal places, such as `1250.00`"),
    ("budgets:\n  - id: b\n    scope: {team: '*'}\n    limit: {usd: 5, per: month, timezone: Europe/Berln}\n    steps: [{at: 1.0, deny: no}]\n",
     "line 8, column 43: no time zone `Europe/Berln`; did you mean `Europe/Berlin`?"),
    ("budgets:\n  - id: b\n    scope: {team: '*'}\n    limit: {usd: 5, per: month, timezone: CEST}\n    steps: [{at: 1.0, deny: no}]\n",
     "line 8, column 43: no time zone `CEST`; write its name in the IANA database, such as `Europe/Berlin`"),
    ("residency:\n  - {id: r, when: 'true', require: {inference: eu-centrl-1}}\n",
     "line 6, column 48: `eu-centrl-1` is no known place; did you mean `eu-central-1`?"),
    ("residency:\n  - id: r\n    when: 'true'\n    require:\n      inference: [eu, narnia]\n",
     "line 9, column 23: `narnia` is no known place; write a cloud's region (`eu-central-1`), a country (`de`), `eu`, `eea`, `apac`, `on_prem` or `global`"),
    ("routes:\n  - {id: r, alias: a, targets: [x/1, b]}\n  - {id: s, alias: b, targets: [a]}\n",
     "line 6, column 38: route `r` leads from `a` to `b` and from there back to `a`; break the circle"),
    ("limits:\n  - {id: l, scope: {team: '*'}, limit: {calls: 1, per: mnth}}\n",
     "line 6, column 56: unknown value `mnth`; did you mean `month`?"),
    ("residency:\n  id: r\n  when: 'true'\n",
     "line 6, column 3: expected a list: `[…]`, or lines that begin with `- `"),
    ("residency:\n",
     "line 5, column 10: expected a list: `[…]`, or lines that begin with `- `"),
    ("routes:\n  - {id: r, alias: a, strategy: weighted, targets: [{target: x/1, weight: many}]}\n",
     "line 6, column 75: expected a whole number, without a sign, decimals or a unit"),
    ("routes:\n  - {id: r, alias: a, strategy: weighted, targets: [{target: x/1, weight: -1}]}\n",
     "line 6, column 75: expected a whole number, without a sign, decimals or a unit"),
    ("routes:\n  - {id: r, alias: a, strategy: weighted, targets: [{taget: x/1, weight: 1}]}\n",
     "line 6, column 54: unknown field `taget`; did you mean `target`?"),
    ("budgets:\n  - id: b\n    scope: {team: '*'}\n    limit: {usd: 5, per: month}\n    steps: [{at: 0.5, prefer: cheepest}]\n",
     "line 9, column 31: unknown preference `cheepest`; did you mean `cheapest`?"),
    ("budgets:\n  - id: b\n    scope: {team: '*'}\n    limit: {usd: 5, per: month}\n    steps: [{at: 0.5, prefer: {tags: x}}]\n",
     "line 9, column 31: `prefer` is `cheapest` or `{tag: NAME}`"),
    ("budgets:\n  - id: b\n    scope: {team: '*'}\n    limit: {usd: 5, per: month}\n    steps: [{at: 80%, prefer: cheapest}]\n",
     "line 9, column 18: `80%` is not a part of a whole; write it as a decimal number, such as 0.80 for 80 %"),
    ("guardrails:\n  - {id: g, phase: input, run: [pii.emial], on_hit: {action: redact}}\n",
     "line 6, column 33: unknown kind of personal data `emial`; did you mean `email`?"),
    ("guardrails:\n  - {id: g, phase: input, run: [{keyword: [a]}], on_hit: {action: block}}\n",
     "line 6, column 34: unknown field `keyword`; did you mean `keywords`?"),
    ("guardrails:\n  - {id: g, phase: input, run: [{keywords: [a], regex: b}], on_hit: {action: block}}\n",
     "line 6, column 33: an entry of `run` has one key; make `keywords` and `regex` two entries"),
    ("guardrails:\n  - {id: g, phase: input, run: [{regex: '(a'}], on_hit: {action: block}}\n",
     "line 6, column 33: the expression `(a` cannot be read: unclosed group"),
    ("guardrails:\n  - {id: g, phase: input, run: [{http: {url: 'http://x/y', timeout: 5m}}], on_hit: {action: block}}\n",
     "line 6, column 69: `5m` is not a time to wait; write `1ms` to `30s`, such as `500ms`"),
    ("guardrails:\n  - {id: g, phase: input, run: [{http: {ulr: 'http://x/y'}}], on_hit: {action: block}}\n",
     "line 6, column 41: unknown field `ulr`; did you mean `url`?"),
    ("guardrails:\n  - {id: g, phase: input, run: [{language: [en]}], on_hit: {action: block}}\n",
     "line 6, column 44: expected fields: `{name: value}`, or lines of `name: value`"),
    ("routes:\n  - id: r\n    alias: a\n    targets: [x/1]\n    cache: {ttl: 1 hour}\n",
     "line 9, column 18: `1 hour` is not how long an answer can be kept; write `90s`, `15m`, `12h` or `7d`, at most 30 days; to keep none, leave `cache` out"),
    ("routes:\n  - id: r\n    alias: a\n    targets: [x/1]\n    cache: {ttl: 1h, semantic: {model: x/e, threshold: 95}}\n",
     "line 9, column 56: `95` is not a share; write a number from 0 to 1, such as 0.25"),
    ("routes:\n  - {id: r, alias: a, targets: [x/1], shadow: {to: y/1, share: 10%}}\n",
     "line 6, column 64: `10%` is not a share; write a number from 0 to 1, such as 0.25"),
    ("routes:\n  - {id: r, alias: a, targets: [x/1], hedge: {after: 1 s}}\n",
     "line 6, column 54: `1 s` is not when to hedge; write `p95`, or a time such as `800ms`"),
    ("tests:\n  - given: {}\n    expect: {decision: alow}\n",
     "line 7, column 24: unknown value `alow`; did you mean `allow`?"),
    ("tests:\n  - given: {now: yesterday}\n    expect: {decision: allow}\n",
     "line 6, column 18: `yesterday` is not a time; write it as `2026-11-30T23:59:59Z`"),
    ("tests:\n  - given: {spent: {b: 5}}\n    expect: {decision: allow}\n",
     "line 6, column 24: no budget or limit has the id `b`"),
    ("limits:\n  - {id: l, scope: {tem: x}, limit: {calls: 1, per: day}}\n",
     "line 6, column 26: unknown field `tem`; did you mean `team`?"),
    ("limits:\n  - {id: l, scope: {team: [a, b]}, limit: {calls: 1, per: day}}\n",
     "line 6, column 27: expected one value, not a list or fields"),
    ("limits:\n  - {id: l, scope: {team: a}, limit: {calls: 1.5, per: day}}\n",
     "line 6, column 46: expected a whole number, without a sign, decimals or a unit"),
    ("routes:\n  - {id: r, alias: a, strategy: quality, targets: [x/1], floor: high}\n",
     "line 6, column 65: `high` is not a share; write a number from 0 to 1, such as 0.25"),
    ("experiments:\n  - {id: e, alias: a, unit: metadata., arms: [{name: x, weight: 1, target: x/1}, {name: y, weight: 1, target: y/1}]}\n",
     "line 6, column 29: `metadata.` is not what an experiment can assign; did you mean `metadata.NAME`?"),
    ("guardrails:\n  - {id: g, phase: output, run: [{json_schema: {type: objekt}}], on_hit: {action: block}}\n",
     "line 6, column 34: the JSON schema cannot be used: `\"objekt\"` is not allowed at `/type`"),
    ("budgets:\n  - id: b\n    scope: {team: '*'}\n    limit: {usd: 5, per: month}\n    steps: [{at: 1.0, deny: no}, {at: 0.5, prefer: cheapest}]\n",
     "line 9, column 39: steps go from the lowest `at` to the highest"),
    ("tests:\n  - given: {request.metadata: {n: [1]}}\n    expect: {decision: allow}\n",
     "line 6, column 35: expected one value, not a list or fields"),
    ("residency:\n  - {id: r, when: 'true', require: {inference: eu}, evidence_at_least: contrct}\n",
     "line 6, column 72: unknown value `contrct`; did you mean `contract`?"),
    ("residency:\n  - {id: r, when: 'true', require: {inference: []}}\n",
     "line 6, column 48: the list is empty; leave it out, or name at least one"),
    ("residency:\n  - {id: r, when: 'true', require: {infrence: eu}}\n",
     "line 6, column 37: unknown field `infrence`; did you mean `inference`?"),
    ("guardrails:\n  - {id: g, phase: input, run: [{keywords: []}], on_hit: {action: block}}\n",
     "line 6, column 33: the list of keywords is empty"),
    ("---\napiVersion: tollgate/v1\nbundle: {name: t}\naccess:\n  - {id: all, when: 'true', allow: {}}\n",
     "line 6, column 1: a second document begins here (`---`); write one"),
];

#[rustfmt::skip]
const WHOLE: &[(&str, &str)] = &[
    ("- a\n- b\n",
     "line 1, column 1: expected fields: `{name: value}`, or lines of `name: value`"),
    ("apiVersion: tollgate/v2\nbundle: {name: t}\naccess:\n  - {id: all, when: 'true', allow: {}}\n",
     "line 1, column 13: unknown value `tollgate/v2`; did you mean `tollgate/v1`?"),
    ("apiVersion: tollgate/v1\nbundle: {}\naccess:\n  - {id: all, when: 'true', allow: {}}\n",
     "line 2, column 9: the field `name` is missing"),
    ("apiVersion: tollgate/v1\naccess:\n  - {id: all, when: 'true', allow: {}}\n",
     "line 2, column 1: the field `bundle` is missing"),
    ("\u{feff}apiVersion: tollgate/v1\r\nbundle: {name: t}\r\nacess: []\r\n",
     "line 3, column 1: unknown field `acess`; did you mean `access`?"),
    ("apiVersion: tollgate/v1\nbundle: {name: t, review_by: soon}\naccess:\n  - {id: all, when: 'true', allow: {}}\n",
     "line 2, column 30: `soon` is not a day; write it as `2027-02-01`"),
    ("apiVersion: tollgate/v1\nbundle: {name: [a]}\naccess:\n  - {id: all, when: 'true', allow: {}}\n",
     "line 2, column 16: expected one value, not a list or fields"),
];

#[test]
fn each_broken_bundle_is_told_what_is_wrong_where_and_what_to_write() {
    let below = |head: &'static str, table: &'static [(&str, &str)]| {
        table.iter().map(move |(rest, expected)| (format!("{head}{rest}"), *expected))
    };
    let all = below(HEAD, BELOW_HEAD).chain(below(ACCESS, BELOW_ACCESS)).chain(below("", WHOLE));
    let mut wrong = Vec::new();
    let mut count = 0;
    for (yaml, expected) in all {
        count += 1;
        let said = refusal(&yaml);
        let places = said.matches("line ").count() - usize::from(said.contains("; the value comes from line "));
        if said != expected || places - usize::from(said.contains("this line ")) != 1 {
            wrong.push(format!("{yaml}\n  said:     {said}\n  expected: {expected}"));
        }
        // Words of the parsers and of the program's types, which no author of a bundle knows.
        for raw in ["u32", "u64", "invalid type", "mismatched", "token", "<EOF>", "mapping", "scalar", "sequence", "?;"]
        {
            assert!(!said.contains(raw), "`{raw}` in: {said}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 70, "{count} bundles");
}
