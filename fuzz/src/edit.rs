//! Changes JSON as a tree, so that what comes out is JSON again and reaches the readers behind the parser.

use serde_json::{Map, Value, json};

use crate::random::Random;

/// Deeper than any request; a value that is put into itself again and again stops here.
const MAX_NODES: usize = 4_000;

/// Changes one to three places of `value`. `pool` lends values; it may be another document.
pub(crate) fn edit(value: &mut Value, pool: &Value, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let donated = pick(pool, random).clone();
        let nodes = count(value);
        if nodes > MAX_NODES {
            return;
        }
        let mut place = random.below(nodes);
        if let Some(node) = nth(value, &mut place) {
            change(node, donated, random);
        }
    }
}

fn change(node: &mut Value, donated: Value, random: &mut Random) {
    match (random.below(4), &mut *node) {
        (0, _) => *node = strange(random),
        (1, _) => *node = donated,
        (_, Value::Array(items)) if !items.is_empty() => change_items(items, donated, random),
        (_, Value::Object(fields)) if !fields.is_empty() => change_fields(fields, donated, random),
        (_, Value::String(text)) => change_text(text, &donated, random),
        (_, Value::Number(_)) => *node = number(random),
        (2, _) => *node = json!([node.take()]),
        (_, _) => *node = donated,
    }
}

fn change_items(items: &mut Vec<Value>, donated: Value, random: &mut Random) {
    let at = random.below(items.len());
    match random.below(4) {
        0 => drop(items.remove(at)),
        1 => items.insert(at, items[at].clone()),
        2 => items.insert(at, donated),
        _ => {
            let other = random.below(items.len());
            items.swap(at, other);
        }
    }
}

fn change_fields(fields: &mut Map<String, Value>, donated: Value, random: &mut Random) {
    let at = random.below(fields.len());
    let Some(name) = fields.keys().nth(at).cloned() else { return };
    match (random.below(4), donated) {
        (0, _) => drop(fields.remove(&name)),
        (1, donated) => drop(fields.insert(name, donated)),
        (2, Value::Object(donated)) => fields.extend(donated),
        (2, Value::String(other)) => {
            if let Some(value) = fields.remove(&name) {
                fields.insert(other, value);
            }
        }
        (_, _) => drop(fields.insert(name, strange(random))),
    }
}

fn change_text(text: &mut String, donated: &Value, random: &mut Random) {
    match (random.below(4), donated) {
        (0, Value::String(donated)) => text.clone_from(donated),
        (1, Value::String(donated)) => text.push_str(donated),
        (2, _) => {
            let kept = random.below(text.chars().count() + 1);
            *text = text.chars().take(kept).collect();
        }
        (_, _) => {
            let strange = ["\u{0}", "é", "\u{1F600}", "\"", "\\", "\n", "{", "data:", "://", ";base64,", "tollgate:"];
            text.push_str(strange[random.below(strange.len())]);
        }
    }
}

fn number(random: &mut Random) -> Value {
    let numbers = [
        json!(0),
        json!(-1),
        json!(1),
        json!(2.5),
        json!(127),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e300),
        json!(-0.0),
        json!(1e-7),
    ];
    numbers[random.below(numbers.len())].clone()
}

/// What a reader may not have expected.
fn strange(random: &mut Random) -> Value {
    match random.below(9) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(false),
        3 => json!(""),
        4 => json!([]),
        5 => json!({}),
        6 => json!([null]),
        7 => json!("x"),
        _ => number(random),
    }
}

fn pick<'a>(value: &'a Value, random: &mut Random) -> &'a Value {
    let mut place = random.below(count(value));
    shared_nth(value, &mut place).unwrap_or(value)
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

fn nth<'a>(value: &'a mut Value, place: &mut usize) -> Option<&'a mut Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, place)),
        Value::Object(fields) => fields.values_mut().find_map(|item| nth(item, place)),
        _ => None,
    }
}

fn shared_nth<'a>(value: &'a Value, place: &mut usize) -> Option<&'a Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter().find_map(|item| shared_nth(item, place)),
        Value::Object(fields) => fields.values().find_map(|item| shared_nth(item, place)),
        _ => None,
    }
}
