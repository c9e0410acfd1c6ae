//! What a person reads: results on standard output, everything else on standard error.
#![expect(clippy::print_stderr, reason = "this module is the terminal")]

use std::io::Write as _;

/// A line of the result.
pub(crate) fn line(text: &str) {
    // Whoever reads may have had enough, as `head` has: that is no error of ours.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Bytes of the result, as they are.
///
/// # Errors
/// If standard output is closed, as by `head`.
pub(crate) fn bytes(content: &[u8]) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(content)?;
    output.flush()
}

/// A line about the result.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// An error with its causes, innermost last.
pub(crate) fn error(error: &anyhow::Error) {
    let mut said = error.to_string();
    eprintln!("error: {said}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some errors quote their cause.
        if !said.contains(&cause) {
            eprintln!("  because: {cause}");
        }
        said = cause;
    }
}
