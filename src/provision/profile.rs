//! What differs between the clients: one table, and how a client is recognised.

use super::Caller;
use crate::directory::Profile;
use crate::scim::habits::Habits;
use crate::scim::habits::Omitted::Cleared;
use crate::scim::habits::Replaced::Whole;
use crate::scim::habits::Treatment::Refuse;

/// How the clients of a profile are treated; what a row does not name, it treats as leniently as can be.
#[must_use]
pub fn habits(profile: Profile) -> Habits {
    match profile {
        Profile::Auto => Habits { omitted_external_id: Cleared, ..Habits::LENIENT },
        // Okta leaves `externalId` out of later PUTs; Entra sends none.
        Profile::Okta | Profile::Entra => Habits::LENIENT,
        Profile::Generic => Habits {
            omitted_external_id: Cleared,
            unwritable_paths: Refuse,
            unknown_members: Refuse,
            ..Habits::LENIENT
        },
        // draft-zollner-scim-interop-profile-01
        Profile::Interop => Habits {
            omitted_external_id: Cleared,
            unwritable_paths: Refuse,
            unknown_members: Refuse,
            unknown_names: Refuse,
            loose_values: Refuse,
            loose_filters: Refuse,
            missing_paths: Refuse,
            element_paths: Refuse,
            many_matches: Refuse,
            replaced_complex: Whole,
        },
    }
}

impl Caller {
    /// Recognises a client of the profile `auto` by its `User-Agent`: Okta says its name.
    pub fn recognise_agent(&mut self, agent: &str) {
        if self.profile == Profile::Auto && agent.to_ascii_lowercase().starts_with("okta scim") {
            self.habits = habits(Profile::Okta);
        }
    }
}
