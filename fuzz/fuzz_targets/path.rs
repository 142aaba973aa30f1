//! PATCH paths and attribute names: any text (RFC 7644 §3.5.2 and §3.10).
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use scim_v2::filter::PatchPath;
use scimd::scim::grammar::{GrammarError, parse_attribute, parse_path};
use scimd::scim::schemas::Schemas;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Corpus::Reject;
    };
    let path = parse_path(text);
    if let Ok(path) = &path {
        match parse_path(&path.to_string()) {
            Ok(again) => assert_eq!(&again, path, "what is printed reads back unchanged"),
            // Printing adds the quotes that the text left out.
            Err(GrammarError::TooLong { .. }) => {}
            Err(error) => panic!("{path} does not read back: {error}"),
        }
    }
    match parse_attribute(text) {
        Ok(attribute) => {
            assert_eq!(parse_attribute(&attribute.to_string()), Ok(attribute.clone()));
            assert_eq!(path, Ok(PatchPath::Attr(attribute)), "an attribute is a path");
        }
        Err(_) => assert!(
            !matches!(path, Ok(PatchPath::Attr(_))),
            "a path without a filter is an attribute"
        ),
    }
    for kind in Schemas::standard().types() {
        let _ = kind.place(text);
    }
    Corpus::Keep
});
