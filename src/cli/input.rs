//! What a command reads: a file, or the standard input.

use std::io::Read as _;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The bytes that are read of a file: what a definition, a mapping or a look-up table can hold stays
/// below.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// What to call a file; `-` is the standard input.
pub(super) fn name(file: &str) -> &str {
    if file == "-" { "the standard input" } else { file }
}

/// The text in a file.
pub(super) fn text(file: &str) -> Result<String> {
    let name = name(file);
    let source: Box<dyn std::io::Read> = if file == "-" {
        Box::new(std::io::stdin())
    } else {
        let opened = std::fs::File::open(file);
        Box::new(opened.with_context(|| format!("{file} cannot be read"))?)
    };
    let mut text = String::new();
    let mut source = source.take(FILE_BYTES_MAX + 1);
    source.read_to_string(&mut text).with_context(|| format!("{name} cannot be read as text"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        bail!("{name} has more than {FILE_BYTES_MAX} bytes: take it apart");
    }
    Ok(text)
}

/// The JSON in a file; `due` says what to write into it.
pub(super) fn json(file: &str, due: &str) -> Result<Value> {
    let text = text(file)?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON: {due}", name(file)))
}
