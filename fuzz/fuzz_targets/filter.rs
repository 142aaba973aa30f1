//! Filters: any text (RFC 7644 §3.4.2.2).
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use scimd::scim::filter::{Condition, parse, resolve};
use scimd::scim::grammar::{GrammarError, TERMS_MAX, parse_filter};
use scimd::scim::habits::Habits;
use scimd::scim::schema::ResourceType;
use scimd::scim::schemas::Schemas;
use scimd_fuzz::{PERSON, TEAM};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Corpus::Reject;
    };
    if let Ok(filter) = parse_filter(text) {
        match parse_filter(&filter.to_string()) {
            Ok(again) => assert_eq!(again, filter, "what is printed reads back unchanged"),
            // Printing adds the quotes and the brackets that the text left out.
            Err(GrammarError::TooLong { .. } | GrammarError::TooDeep { .. }) => {}
            Err(error) => panic!("{filter} does not read back: {error}"),
        }
    }
    let Schemas { user, group, .. } = &**Schemas::standard();
    for (kind, document) in [(user, &*PERSON), (group, &*TEAM)] {
        let Some(condition) = compile(kind, text) else { continue };
        assert!(condition.terms() <= TERMS_MAX);
        let found = condition.matches(document);
        if let Some(negation) = compile(kind, &format!("not ({text})")) {
            assert_ne!(negation.matches(document), found, "either a filter or its negation holds");
        }
    }
    Corpus::Keep
});

fn compile<'a>(kind: &'a ResourceType, text: &str) -> Option<Condition<'a>> {
    resolve(kind, &[], &parse(text, &Habits::LENIENT).ok()?).ok()
}
