//! Status codes of the witness protocol, in both directions: what a witness answers, and what a log makes of it. No other
//! module of this command names one.

use bytes::Bytes;
use http::StatusCode;
use tollgate_lake::witness::Refusal;
use tollgate_lake::witnessing::WitnessAnswer;

/// Cosigned.
pub(super) const COSIGNED: StatusCode = StatusCode::OK;
/// No such path.
pub(super) const NO_SUCH_PATH: StatusCode = StatusCode::NOT_FOUND;
/// The path is there for POST.
pub(super) const NO_SUCH_METHOD: StatusCode = StatusCode::METHOD_NOT_ALLOWED;
/// The request did not come in time.
pub(super) const TOO_SLOW: StatusCode = StatusCode::REQUEST_TIMEOUT;
/// The request is too large.
pub(super) const TOO_LARGE: StatusCode = StatusCode::PAYLOAD_TOO_LARGE;
/// A defect of ours.
pub(super) const DEFECT: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

/// The status of a refusal, by the specification.
pub(super) fn of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Malformed { .. } => StatusCode::BAD_REQUEST,
        Refusal::UnknownLog { .. } => StatusCode::NOT_FOUND,
        Refusal::Signature { .. } => StatusCode::FORBIDDEN,
        Refusal::Conflict { .. } | Refusal::Contradiction { .. } => StatusCode::CONFLICT,
        Refusal::Inconsistent { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Disk(_) | Refusal::Note(_) => DEFECT,
    }
}

/// What a log makes of an answer.
pub(crate) fn read(status: StatusCode, body: Bytes) -> WitnessAnswer {
    /// A witness's words are shown to people; this much of them.
    const SHOWN: usize = 300;
    let said = String::from_utf8_lossy(&body);
    let size = said.strip_suffix('\n').and_then(|text| text.parse().ok());
    match (status, size) {
        (StatusCode::OK, _) => WitnessAnswer::Cosigned(body),
        (StatusCode::CONFLICT, Some(size)) => WitnessAnswer::Conflict { size },
        (StatusCode::UNPROCESSABLE_ENTITY, _) => WitnessAnswer::Inconsistent,
        _ => {
            let printable = said.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
            let said: String = printable.take(SHOWN).collect();
            WitnessAnswer::Refused(format!("{}: {}", status.as_u16(), said.trim()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> WitnessAnswer {
        read(StatusCode::from_u16(status).unwrap(), Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn a_conflict_names_a_size_or_is_only_a_refusal() {
        assert_eq!(answered(409, "20852014\n"), WitnessAnswer::Conflict { size: 20_852_014 });
        for body in ["", "\n", "12", "-1\n", "twelve\n", "99999999999999999999\n"] {
            assert!(matches!(answered(409, body), WitnessAnswer::Refused(_)), "{body}");
        }
    }

    #[test]
    fn a_witness_speaks_in_one_short_line() {
        let WitnessAnswer::Refused(why) = answered(404, &format!("no\nsuch\u{1b}log {}", "x".repeat(9_000))) else {
            panic!("refused");
        };
        assert!(why.starts_with("404: no such log") && why.len() < 400 && !why.contains('\n'), "{why}");
    }
}
