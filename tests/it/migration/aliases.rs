//! The names that people had before.

use std::time::Duration;

use scimd::directory::ALIASES_MAX;
use scimd::directory::hand::Act;
use serde_json::json;

use super::Town;
use crate::support::both;
use crate::support::csv::{Csv, file as people_file};

/// The operation by which an identity provider renames somebody.
fn renamed(name: &str) -> serde_json::Value {
    json!([{ "op": "replace", "path": "userName", "value": name }])
}

impl Town {
    /// Who had a name before, by the name that she has now.
    async fn formerly(&self, name: &str) -> Option<String> {
        let provision = &self.test.app.provision;
        let found = provision.account_formerly(self.test.id, name).await.unwrap();
        found.map(|account| account.user_name)
    }

    async fn aliases(&self, id: &str) -> Vec<String> {
        let account = self.test.any(id).await;
        let found = self.test.app.provision.aliases(self.test.id, account.id).await.unwrap();
        found
            .iter()
            .map(|alias| format!("{} {}", alias.name, alias.until_at.0 - alias.since_at.0))
            .collect()
    }
}

both! {
    /// Whoever renames somebody, her old names lead to her, as long as nobody else has them.
    async fn an_old_name_leads_to_whom_it_meant(database) {
        let town = Town::on(&database).await;
        let neighbour = Town::of(town.test.neighbour().await).await;
        let ann = town.from.user("Ann").await;
        let day = Duration::from_secs(1);
        town.test.advance(day);
        town.from.change(&format!("/Users/{ann}"), renamed("anna")).await;
        town.test.advance(day * 2);
        town.migrate(&["anna,annie,Entra Prod"]).await;
        assert_eq!(town.aliases(&ann).await, ["anna 2000", "Ann 1000"]);
        assert_eq!(town.formerly("ANN").await.as_deref(), Some("annie"));
        assert_eq!(town.formerly("anna").await.as_deref(), Some("annie"));
        assert_eq!((town.formerly("annie").await, neighbour.formerly("ann").await), (None, None));
        // The name that she had first comes back; it is one of her former names all the same.
        town.to.change(&format!("/Users/{ann}"), renamed("ann")).await;
        town.to.change(&format!("/Users/{ann}"), renamed("annie")).await;
        assert_eq!(town.aliases(&ann).await.len(), 3);
        // Somebody else takes the name: it is his now, and whose it was before is still known.
        let other = town.from.user("anna").await;
        assert_eq!(town.test.any("anna").await.id.to_string(), other);
        assert_eq!(town.formerly("anna").await.as_deref(), Some("annie"));
        town.test.act(&ann, Act::Delete).await;
        assert_eq!(town.formerly("ann").await, None, "who is deleted is not found by an old name");
        town.test.act(&ann, Act::Restore).await;
        assert_eq!(town.formerly("ann").await.as_deref(), Some("annie"));
    }

    async fn a_pull_that_renames_leaves_the_old_name(database) {
        let csv = Csv::with(&database, |settings| {
            settings.match_by = scimd::directory::source::MatchBy::ExternalId;
        }).await;
        csv.pull(people_file("externalId", &["ann,1", "bob,2"])).await;
        csv.pull(people_file("externalId", &["anna,1", "bob,2"])).await;
        let provision = &csv.test.app.provision;
        let found = provision.account_formerly(csv.test.id, "ann").await.unwrap();
        assert_eq!(found.unwrap().user_name, "anna");
        assert!(provision.account_formerly(csv.test.id, "bob").await.unwrap().is_none());
    }

    async fn old_names_go_with_the_account(database) {
        let town = Town::on(&database).await;
        let (test, provision) = (&town.test, &town.test.app.provision);
        let ann = town.from.user("ann").await;
        town.from.change(&format!("/Users/{ann}"), renamed("anna")).await;
        test.act(&ann, Act::Delete).await;
        let id = ann.parse().unwrap();
        provision.erase(&provision.operator(), test.id, id).await.unwrap();
        let mut tx = provision.store.read().await.unwrap();
        let left = scimd::store::aliases::of_account(&mut tx, test.id, id).await.unwrap();
        assert_eq!(left, []);
    }

    async fn only_the_latest_names_are_kept(database) {
        let town = Town::on(&database).await;
        let ann = town.from.user("name-0").await;
        let most = usize::try_from(ALIASES_MAX).unwrap();
        for n in 1..=most + 2 {
            town.test.advance(Duration::from_millis(1));
            town.from.change(&format!("/Users/{ann}"), renamed(&format!("name-{n}"))).await;
        }
        let aliases = town.aliases(&ann).await;
        assert_eq!((aliases.len(), aliases[0].as_str()), (most, format!("name-{} 1", most + 1).as_str()));
        assert_eq!((town.formerly("name-1").await, town.formerly("name-2").await.is_some()), (None, true));
    }
}
