//! What must never cost anybody the access: files that are not what they seem, and too many at once.

use super::*;
use scimd::directory::{ConnectionStatus, Scope};
use scimd::store::runs::RunState;

const TEN: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

/// Half of them and nobody else.
fn half() -> String {
    file("job title,groups", &["a,Cook,G", "b,Cook,G", "c,Cook,G", "d,Cook,G", "e,Cook,G"])
}

impl Csv {
    async fn established(database: &Database) -> Self {
        let csv = Self::with(database, |settings| settings.guard = Guard::default()).await;
        let rows: Vec<String> = TEN.iter().map(|name| format!("{name},Köchin,G")).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        csv.pull(file("job title,groups", &rows)).await;
        csv
    }
}

both! {
    async fn a_file_that_is_not_what_it_seems_changes_nobody(database) {
        let csv = Csv::established(&database).await;
        let (before, last) = (csv.test.everything().await, csv.source().await.last);
        let rows: Vec<String> = TEN.iter().map(|name| format!("{name},Köchin,G")).collect();
        let good = file("job title,groups", &rows.iter().map(String::as_str).collect::<Vec<_>>());
        let header = good.lines().next().unwrap();
        let latin: Vec<u8> = good.chars().map(|c| u8::try_from(c as u32).unwrap()).collect();
        let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let worse = good.replace("@example.com", "").replace(",Test,", ",,");
        let cases: Vec<(&str, Vec<u8>, &str)> = vec![
            ("empty", b"".to_vec(), "empty"),
            ("blank lines", b"\n\r\n  \n".to_vec(), ""),
            ("a mark", b"\xef\xbb\xbf".to_vec(), ""),
            ("the header", header.into(), ""),
            ("the header and a line", format!("{header}\n\n").into(), ""),
            ("a web page", b"<!DOCTYPE html><html><body>Sign in</body></html>".to_vec(), "page"),
            ("JSON", b"{\"error\":\"expired\"}".to_vec(), ""),
            ("a text", b"502 Bad Gateway\n".to_vec(), ""),
            ("a table of something else", b"item,price\n1,2\n3,4\n".to_vec(), "userName"),
            ("cut within a row", good.as_bytes()[..good.len() - 8].into(), "cut"),
            ("cut within quotes", format!("{}\"Kö", &good[..good.len() - 9]).into(), ""),
            ("no header", good.split_once('\n').unwrap().1.into(), ""),
            ("a column less", good.replace("job title", "x").into(), "title"),
            ("no groups", good.replace(",groups", ",y").into(), "groups"),
            ("other encoding", latin, "utf-8"),
            ("other separator", good.replace(',', ";").into(), "semicolon"),
            ("a workbook", b"PK\x03\x04rest".to_vec(), "Excel"),
            ("zeros", vec![0; 5_000], ""),
            ("a line of another language", utf16[..utf16.len() - 41].into(), ""),
        ];
        for (what, bytes, reason) in cases {
            let pulled = csv.pull(&bytes).await;
            assert_eq!(pulled.run.state, RunState::Failed, "{what}: {}", pulled.end());
            assert!(pulled.end().contains(reason), "{what}: {}", pulled.end());
            assert_eq!(csv.test.everything().await, before, "{what}");
            assert_eq!(csv.source().await.last, last, "{what}");
            // A rehearsal ends alike.
            let dry = csv.dry(&bytes).await;
            assert_eq!(dry.end(), pulled.end(), "{what}");
        }
        // Rows that lack something are refused one by one.
        assert_eq!(csv.pull(worse).await.pull().counts.skipped, 10);
        assert_eq!(csv.test.everything().await, before);
        assert_eq!(csv.pull(&good).await.end(), "done");
        csv.test.assert_lawful().await;
    }

    /// A column that is lost stops the run also when something else was set meanwhile.
    async fn a_schedule_is_no_leave_to_change_the_header(database) {
        let csv = Csv::established(&database).await;
        let schedule = scimd::directory::Schedule::parse("every day at 03:00");
        let schedule = schedule.or_else(|_| scimd::directory::Schedule::parse("0 3 * * *")).unwrap();
        csv.set_source(scimd::provision::sources::SourceChange {
            schedule: Some(Some(schedule)), ..Default::default()
        }).await;
        let rows = TEN.map(|name| format!("{name},Köchin"));
        let text = file("job title", &rows.each_ref().map(String::as_str));
        let pulled = csv.pull(text).await;
        assert!(pulled.end().contains("groups"), "{}", pulled.end());
    }

    async fn too_many_wait_for_an_administrator(database) {
        let csv = Csv::established(&database).await;
        let before = csv.test.everything().await;
        let dry = csv.dry(half()).await;
        assert_eq!(dry.pull().counts.suspended, 5);
        assert!(dry.pull().notes.iter().any(|note| note.contains("5 of 10")), "{dry:?}");
        let held = csv.pull(half()).await;
        assert_eq!(
            held.end(),
            "held: 5 of 10 people (50 percent) would lose their access; more than 20 percent at once wait \
             for an administrator"
        );
        assert_eq!((csv.test.everything().await, held.said().as_str()), (before.clone(), ""));
        // Nothing else of this connection begins meanwhile, and a server leaves it alone.
        assert!(csv.try_begin(false).await.is_err());
        // But an administrator can see who it would be.
        let rehearsal = csv.try_begin(true).await.unwrap();
        csv.cancel(&rehearsal).await;
        csv.test.advance(std::time::Duration::from_hours(24));
        assert!(csv.pulls.provision().pulls_left_alone().await.unwrap().is_empty());
        assert!(csv.pulls.provision().take_up(&held.run).await.is_err());
        let dropped = csv.cancel(&held.run).await;
        assert_eq!(dropped.state, RunState::Cancelled);
        assert_eq!(csv.test.everything().await, before);
        let held = csv.run().await;
        let done = csv.go_on(&held.run).await;
        assert_eq!((done.lines().lines().count(), done.pull().counts.suspended), (10, 5));
        assert_eq!(csv.accounts().await.matches("missing from source").count(), 5);
        csv.test.assert_lawful().await;
    }

    /// What was agreed to was this file, and these people.
    async fn an_agreement_is_for_the_file_that_was_seen(database) {
        let csv = Csv::established(&database).await;
        let held = csv.pull(half()).await;
        csv.upload(file("job title,groups", &["a,Cook,G", "b,Cook,G"])).await;
        let again = csv.go_on(&held.run).await;
        assert!(again.end().starts_with("held: 8 of 10 people"), "{}", again.end());
        assert_eq!(csv.accounts().await.matches("missing from source").count(), 0);
        csv.upload(half()).await;
        let again = csv.go_on(&again.run).await;
        assert!(again.end().starts_with("held: 5 of 10 people"), "{}", again.end());
        assert_eq!(csv.go_on(&again.run).await.end(), "done");
    }

    async fn a_count_holds_as_well_as_a_share(database) {
        let csv = Csv::with(&database, |settings| settings.guard = Guard { count_max: 1, percent_max: 100 }).await;
        csv.pull(file("active", &["a,", "b,", "c,", "d,"])).await;
        let held = csv.pull(file("active", &["a,", "b,no", "c,"])).await;
        assert_eq!(held.end(), "held: 2 of 4 people (50 percent) would lose their access; more than 1 people at once wait for an administrator");
        csv.cancel(&held.run).await;
        assert_eq!(csv.pull(file("active", &["a,", "b,no", "c,", "d,"])).await.short(), "3 suspended b");
        // Those who are out already are none who leave.
        assert_eq!(csv.pull(file("active", &["a,", "c,"])).await.short(), "- updated b, - suspended d");
        assert_eq!(csv.accounts().await, "a active\nb suspended: disabled in the identity provider\nc active\nd suspended: missing from source");
    }

    /// Those who are deleted without being able to enter lose nothing.
    async fn clearing_up_is_no_loss(database) {
        let csv = Csv::with(&database, |settings| settings.mode = Mode::Delta).await;
        csv.pull(file("action", &TEN.map(|name| match name {
            "a" | "b" => "a,",
            _ => name,
        })[2..].iter().map(|name| format!("{name},")).collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>())).await;
        let rows = |word: &str| TEN[3..].iter().map(|name| format!("{name},{word}")).collect::<Vec<_>>();
        let (out, gone) = (rows("suspend"), rows("delete"));
        csv.pull(file("action", &out.iter().map(String::as_str).collect::<Vec<_>>())).await;
        csv.set(|settings| settings.guard = Guard::default()).await;
        let pulled = csv.pull(file("action", &gone.iter().map(String::as_str).collect::<Vec<_>>())).await;
        assert_eq!((pulled.end().as_str(), pulled.pull().counts.deleted), ("done", 7));
    }

    /// Leaving a sync group costs the access too: nobody has counted that before the first change.
    async fn leaving_the_sync_group_is_held(database) {
        let csv = Csv::established(&database).await;
        let provision = csv.pulls.provision();
        let groups = provision.groups(csv.test.id, &scimd::store::query::Narrow::All(vec![]), None, 10).await.unwrap();
        let run = provision
            .set_scope(&provision.operator(), &csv.connection, Scope::Groups, &[groups[0].id])
            .await
            .unwrap();
        provision.work_off(run, |_| ()).await.unwrap();
        let before = csv.test.everything().await;
        let rows = TEN.map(|name| format!("{name},Cook,{}", if name < "d" { "H" } else { "G" }));
        let text = file("job title,groups", &rows.each_ref().map(String::as_str));
        let held = csv.pull(&text).await;
        assert!(held.end().starts_with("held: 3 of 10 people (30 percent)"), "{}", held.end());
        assert_eq!(csv.test.everything().await, before);
        let done = csv.go_on(&held.run).await;
        assert_eq!((done.end().as_str(), done.pull().counts.suspended, done.pull().counts.updated), ("done", 3, 7));
        assert_eq!(csv.accounts().await.matches("in no sync group in H").count(), 3);
        csv.test.assert_lawful().await;
    }

    /// Who stops a connection stops its runs, also the last part of them.
    async fn a_connection_that_is_paused_suspends_nobody(database) {
        let csv = Csv::with(&database, |settings| settings.guard = OPEN).await;
        csv.pull(file("", &TEN)).await;
        let provision = csv.pulls.provision();
        csv.upload(file("", &TEN[..5])).await;
        let run = csv.begin().await;
        provision.set_connection_status(&provision.operator(), &csv.connection, ConnectionStatus::Paused).await.unwrap();
        let pulled = csv.work(run).await;
        assert!(pulled.end().starts_with("failed: "), "{}", pulled.end());
        assert!(!csv.accounts().await.contains("missing"), "{}", csv.accounts().await);
        assert!(csv.try_begin(false).await.is_err());
        // A rehearsal is allowed.
        assert_eq!(csv.work(csv.try_begin(true).await.unwrap()).await.pull().counts.suspended, 5);
    }
}
