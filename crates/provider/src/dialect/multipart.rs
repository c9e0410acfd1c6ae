//! The head of an upload (`multipart/form-data`, RFC 7578): the few fields the gateway decides on, found without taking
//! the form apart, so that everything else reaches the provider byte for byte. A form is read as strictly as its standard
//! allows: a line that one reader takes for the end of a part and another for a line of the part would let policy judge
//! one model and the provider run another.

use std::ops::Range;

use memchr::memmem;
use tollgate_interaction::Operation;

use super::head::{RequestError, RequestHead, UsageAt, estimate, may_name_no_model};

/// Longest boundary there can be (RFC 2046 §5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;
/// Longest value of a field that decides something.
const MAX_VALUE_BYTES: usize = 4_096;

/// Whether a `content-type` is that of a form.
pub(super) fn is_form(content_type: &str) -> bool {
    media_type(content_type).eq_ignore_ascii_case("multipart/form-data")
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Reads the head of a form.
///
/// # Errors
/// [`RequestError`] names the field and the byte at which the body stopped making sense.
pub(super) fn head(operation: Operation, content_type: &str, body: &[u8]) -> Result<RequestHead, RequestError> {
    let mut form = Form::default();
    let mut text_bytes = 0;
    each_part(body, &boundary(content_type)?, |part| {
        if !part.is_file {
            text_bytes += part.value.len();
        }
        form.read(&part, body)
    })?;
    let (model, model_at) = match form.model {
        Some((model, at)) => (model, Some(at)),
        None if may_name_no_model(operation) => (String::new(), None),
        None => {
            return Err(RequestError::Missing { field: "model", expected: "name a model, such as `sandbox/small`" });
        }
    };
    Ok(RequestHead {
        model,
        stream: form.stream.unwrap_or(false),
        max_output_tokens: None,
        choices: form.choices.unwrap_or(1).max(1),
        user: form.user.filter(|user| !user.is_empty()),
        tools: false,
        base64: false,
        estimated_input_tokens: estimate(text_bytes),
        model_at,
        is_form: true,
        usage_at: UsageAt::Settled,
    })
}

/// The plain fields of a form, in order; none of what is no form.
pub(crate) fn form_texts(content_type: &str, body: &[u8]) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    let Ok(boundary) = boundary(content_type) else { return texts };
    let read = each_part(body, &boundary, |part| {
        texts.extend(text(&part, body).map(|value| (part.name.clone(), value.to_owned())));
        Ok(())
    });
    if read.is_ok() { texts } else { Vec::new() }
}

/// The first file of a form: its name and what is in it; `None` if there is none, or no form.
pub(crate) fn form_file<'a>(content_type: &str, body: &'a [u8]) -> Option<(String, &'a [u8])> {
    let boundary = boundary(content_type).ok()?;
    let mut found = None;
    let read = each_part(body, &boundary, |part| {
        if let (None, Some(name)) = (&found, part.file_name) {
            found = body.get(part.value).map(|content| (name, content));
        }
        Ok(())
    });
    read.ok().and(found)
}

/// A part of a form.
struct Part {
    name: String,
    /// Whether it has the name of a file, so that it is no plain field.
    is_file: bool,
    /// That name, in its plain form.
    file_name: Option<String>,
    /// Whether its value is written in another way than as it is.
    is_encoded: bool,
    value: Range<usize>,
}

/// The fields that decide something, as far as they have come.
#[derive(Default)]
struct Form {
    model: Option<(String, Range<usize>)>,
    stream: Option<bool>,
    choices: Option<u64>,
    user: Option<String>,
}

impl Form {
    fn read(&mut self, part: &Part, body: &[u8]) -> Result<(), RequestError> {
        let offset = part.value.start;
        match part.name.as_str() {
            "model" => {
                let expected = "name a model in a plain field, such as `sandbox/small`";
                let model = text(part, body).filter(|model| !model.is_empty());
                let model = model.ok_or(RequestError::Invalid { field: "model", offset, expected })?;
                once("model", offset, &mut self.model, (model.to_owned(), part.value.clone()))
            }
            "stream" => {
                let stream = text(part, body).and_then(|stream| match stream.to_ascii_lowercase().as_str() {
                    "true" | "1" => Some(true),
                    "false" | "0" | "" => Some(false),
                    _ => None,
                });
                let expected = "send `true` or `false`";
                let stream = stream.ok_or(RequestError::Invalid { field: "stream", offset, expected })?;
                once("stream", offset, &mut self.stream, stream)
            }
            "n" => {
                let count = text(part, body).and_then(|count| count.parse().ok());
                let expected = "send a whole number that is not negative";
                let count = count.ok_or(RequestError::Invalid { field: "n", offset, expected })?;
                once("n", offset, &mut self.choices, count)
            }
            "user" => {
                self.user = text(part, body).map(str::to_owned);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn once<T>(field: &'static str, offset: usize, slot: &mut Option<T>, value: T) -> Result<(), RequestError> {
    if slot.is_some() {
        return Err(RequestError::Duplicate { field, offset });
    }
    *slot = Some(value);
    Ok(())
}

/// The value of a plain field, if it is a short text.
fn text<'a>(part: &Part, body: &'a [u8]) -> Option<&'a str> {
    if part.is_file || part.is_encoded || part.value.len() > MAX_VALUE_BYTES {
        return None;
    }
    std::str::from_utf8(body.get(part.value.clone())?).ok()
}

/// The boundary that a `content-type` names.
fn boundary(content_type: &str) -> Result<String, RequestError> {
    let refuse = |reason| RequestError::NotForm { offset: 0, reason };
    let parameters = content_type.split_once(';').map_or("", |(_, parameters)| parameters);
    let mut boundary = None;
    for (name, value) in Parameters(parameters) {
        if name.eq_ignore_ascii_case("boundary") && boundary.replace(value).is_some() {
            return Err(refuse("the content type names two boundaries"));
        }
    }
    let boundary = boundary.ok_or_else(|| refuse("the content type names no boundary"))?;
    let is_sound = (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len())
        && boundary.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if is_sound { Ok(boundary) } else { Err(refuse("the boundary in the content type is not valid")) }
}

/// Calls `each` for every part of `body`, in order.
fn each_part(
    body: &[u8],
    boundary: &str,
    mut each: impl FnMut(Part) -> Result<(), RequestError>,
) -> Result<(), RequestError> {
    let refuse = |offset, reason| RequestError::NotForm { offset, reason };
    let delimiter = format!("--{boundary}");
    let mut opened_at: Option<usize> = None;
    for at in memmem::find_iter(body, delimiter.as_bytes()) {
        let starts_line = at == 0 || body.get(..at).is_some_and(|before| before.ends_with(b"\r\n"));
        if !starts_line || (opened_at.is_none() && at > 2) {
            return Err(refuse(at, "the boundary stands within a line or a part"));
        }
        if let Some(opened_at) = opened_at {
            each(part(body, opened_at, at.saturating_sub(2))?)?;
        }
        let after = at + delimiter.len();
        let rest = body.get(after..).unwrap_or_default();
        if let Some(end) = rest.strip_prefix(b"--") {
            if end.trim_ascii().is_empty() {
                return Ok(());
            }
            return Err(refuse(after + 2, "something stands behind the end"));
        }
        if !rest.starts_with(b"\r\n") {
            return Err(refuse(after, "expected a line break behind the boundary"));
        }
        opened_at = Some(after + 2);
    }
    let reason =
        if opened_at.is_some() { "the last part has no end" } else { "the boundary of the content type is not in it" };
    Err(refuse(body.len(), reason))
}

/// Reads the headers of the part that stands at `from..to`.
fn part(body: &[u8], from: usize, to: usize) -> Result<Part, RequestError> {
    let refuse = |reason| RequestError::NotForm { offset: from, reason };
    let whole = body.get(from..to).ok_or_else(|| refuse("a part ends before it begins"))?;
    let head_bytes = memmem::find(whole, b"\r\n\r\n").ok_or_else(|| refuse("the headers of a part have no end"))?;
    let head = std::str::from_utf8(&whole[..head_bytes]).map_err(|_| refuse("the headers of a part are not UTF-8"))?;
    let (mut name, mut file_name, mut is_file, mut is_encoded) = (None, None, false, false);
    for line in head.split("\r\n") {
        let (header, value) = line.split_once(':').ok_or_else(|| refuse("a header of a part has no `:`"))?;
        if header.eq_ignore_ascii_case("content-transfer-encoding") {
            is_encoded |= !["7bit", "8bit", "binary"].iter().any(|plain| value.trim().eq_ignore_ascii_case(plain));
        }
        if !header.eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
        if !kind.trim().eq_ignore_ascii_case("form-data") || line.contains(['\r', '\n']) {
            return Err(refuse("a part is not `form-data`"));
        }
        for (parameter, value) in Parameters(parameters) {
            if parameter.eq_ignore_ascii_case("name") {
                if name.replace(value).is_some() {
                    return Err(refuse("a part has two names"));
                }
            } else if parameter.eq_ignore_ascii_case("name*") {
                return Err(refuse("the name of a part is written as `name*`, which forms may not"));
            } else {
                is_file |= parameter.to_ascii_lowercase().starts_with("filename");
                if parameter.eq_ignore_ascii_case("filename") {
                    file_name = Some(value);
                }
            }
        }
    }
    let name = name.ok_or_else(|| refuse("a part has no name"))?;
    Ok(Part { name, is_file, file_name, is_encoded, value: from + head_bytes + 4..to })
}

/// `; name=value; name="quoted value"`.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, String);

    fn next(&mut self) -> Option<(&'a str, String)> {
        let rest = self.0.trim_start_matches([';', ' ', '\t']);
        let (name, rest) = rest.split_once('=')?;
        let (value, rest) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, rest) = rest.split_once(';').unwrap_or((rest, ""));
                (value.trim().to_owned(), rest)
            }
        };
        self.0 = rest;
        Some((name.trim(), value))
    }
}

/// The text up to the closing quote, and what comes after it.
fn unquoted(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            _ => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::dialect::with_model;

    const TYPE: &str = "multipart/form-data; boundary=\"a b\"";

    fn read(body: &str) -> Result<RequestHead, RequestError> {
        head(Operation::Transcription, TYPE, body.as_bytes())
    }

    fn form(parts: &[(&str, &str)]) -> String {
        let part = |(head, value): &(&str, &str)| {
            format!("--a b\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
        };
        let parts: String = parts.iter().map(part).collect();
        format!("{parts}--a b--\r\n")
    }

    #[test]
    fn the_fields_that_decide_are_found_and_only_the_model_is_replaced() {
        let body = form(&[
            ("name=\"file\"; filename=\"model.wav\"\r\nContent-Type: audio/wav", "RIFF\r\n\u{0}name=\"model\"\n--a"),
            ("name=model", "sandbox/small"),
            ("name=\"stream\"", "True"),
            ("name=\"user\"", "u-1"),
            ("name=\"prompt\"", "model"),
        ]);
        let head = read(&body).unwrap();
        assert_eq!((head.model.as_str(), head.stream, head.user.as_deref()), ("sandbox/small", true, Some("u-1")));
        assert_eq!(head.estimated_input_tokens, estimate("sandbox/smallTrueu-1model".len()));
        let spliced = with_model(&Bytes::from(body.clone()), &head, "whisper-1");
        assert_eq!(spliced, body.replace("sandbox/small", "whisper-1"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let refused = |body: &str| read(body).unwrap_err().to_string();
        let twice = form(&[("name=model", "a"), ("name=\"model\"", "b")]);
        assert!(refused(&twice).starts_with("`model` appears a second time"), "{}", refused(&twice));
        let hidden = form(&[
            ("name=model", "a"),
            ("name=file; filename=f", "x\n--a b\nContent-Disposition: form-data; name=model\n\nb"),
        ]);
        for body in [
            hidden.as_str(),
            &form(&[("name=model", "a")]).replace("--a b--\r\n", ""),
            &format!("{}--a b\r\nContent-Disposition: form-data; name=model\r\n\r\nb", form(&[("name=model", "a")])),
            &format!("preamble\r\n{}", form(&[("name=model", "a")])),
            &form(&[("name=model; name=other", "a")]),
            &form(&[("name*=utf-8''model", "a")]),
            &form(&[("filename=f", "a")]),
            "--a bx\r\n\r\n--a b--",
            "{\"model\":\"m\"}",
            "",
        ] {
            assert_eq!(read(body).unwrap_err().code(), "invalid_form", "{body}");
        }
        for (head, value) in [
            ("name=model; filename=f", "a"),
            ("name=model", ""),
            ("name=model\r\nContent-Transfer-Encoding: base64", "YQ=="),
        ] {
            assert_eq!(read(&form(&[(head, value)])).unwrap_err().code(), "invalid_field", "{head}");
        }
        assert_eq!(read(&form(&[("name=file; filename=f", "a")])).unwrap_err().code(), "missing_field");
    }

    #[test]
    fn the_boundary_must_be_named_once() {
        for wrong in
            ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=a; Boundary=b"]
        {
            assert!(is_form(wrong));
            assert_eq!(head(Operation::Images, wrong, b"").unwrap_err().code(), "invalid_form", "{wrong}");
        }
        assert!(!is_form("application/json") && is_form("Multipart/Form-Data ; boundary=x"));
    }

    #[test]
    fn an_edit_of_a_picture_need_not_name_a_model() {
        let head = head(Operation::Images, TYPE, form(&[("name=prompt", "a"), ("name=n", "3")]).as_bytes()).unwrap();
        assert_eq!((head.model.as_str(), head.choices), ("", 3));
    }
}
