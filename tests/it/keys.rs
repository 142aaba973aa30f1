//! API keys: issue, use, rotate, revoke.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use jsonwebtoken::dangerous;
use scimd::directory::{ConnectionKind, Timestamp};
use scimd::keys::NewKey;
use scimd::store::Tx;
use scimd::store::keys::{ApiKey, list};
use serde_json::{Value, json};

use super::support::mirror::Reader;
use super::support::{Client, TestInstance, assert_refused, both};

async fn keys(test: &TestInstance) -> Vec<ApiKey> {
    let mut tx: Tx = test.app.provision.store.read().await.unwrap();
    list(&mut tx, test.id).await.unwrap()
}

fn client(test: &TestInstance, token: &str) -> Client {
    Client { app: test.app.clone(), token: token.to_owned() }
}

both! {
    async fn several_keys_of_a_connection_live_side_by_side(database) {
        let test = TestInstance::on(&database).await;
        let connection = test.connection(ConnectionKind::Okta, "Okta").await;
        let (first, second) = (test.token(&connection).await, test.token(&connection).await);
        let id = client(&test, &first).user("ann@example.com").await;
        assert_eq!(client(&test, &second).get(&format!("/Users/{id}")).await.status, 200);
    }

    async fn a_rotated_key_goes_on_until_the_overlap_ends(database) {
        let test = TestInstance::on(&database).await;
        let connection = test.connection(ConnectionKind::Okta, "Okta").await;
        let old = client(&test, &test.token(&connection).await);
        let key = keys(&test).await.remove(0);
        let (author, ring) = (test.app.provision.operator(), &test.app.keyring);
        let mut tx = test.app.provision.store.begin().await.unwrap();
        let ends = test.app.provision.clock.now().plus_ms(60_000);
        let successor = ring.rotate(&mut tx, &author, &key, ends, None).await.unwrap();
        tx.commit().await.unwrap();
        let new = client(&test, &successor.token);
        assert_eq!((old.get("/Users").await.status, new.get("/Users").await.status), (200, 200));
        test.advance(Duration::from_mins(1));
        let detail = assert_refused(&old.get("/Users").await, 401, "");
        assert!(detail.contains("expired"), "{detail}");
        assert_eq!(new.get("/Users").await.status, 200);
    }

    /// A reader's key lives and ends like those of connections, in its own instance, and says what it is for.
    async fn a_key_that_reads_the_directory_is_a_key_like_others(database) {
        let test = TestInstance::on(&database).await;
        let old = test.reader().await;
        let key = keys(&test).await.remove(0);
        assert_eq!(key.connection, None);
        let claims: Value = dangerous::insecure_decode_claims(&old.token).unwrap();
        assert_eq!((&claims["kind"], claims.get("sub")), (&json!("reader"), None));
        assert_eq!(old.get("/accounts").await.status, 200);
        test.app.keyring.keep_uses(&test.app.provision.store).await.unwrap();
        assert!(keys(&test).await[0].last_used_at.is_some());
        let (author, ring) = (test.app.provision.operator(), &test.app.keyring);
        let mut tx = test.app.provision.store.begin().await.unwrap();
        let successor = ring.rotate(&mut tx, &author, &key, author.at, None).await.unwrap();
        tx.commit().await.unwrap();
        assert!(assert_refused(&old.get("/accounts").await, 401, "").contains("expired"));
        let new = Reader { app: test.app.clone(), token: successor.token };
        assert_eq!(new.get("/accounts").await.status, 200);
        let mut tx = test.app.provision.store.begin().await.unwrap();
        ring.revoke(&mut tx, &author, &successor.key).await.unwrap();
        tx.commit().await.unwrap();
        assert!(assert_refused(&new.get("/accounts").await, 401, "").contains("revoked"));
        let actions: Vec<_> = test.trail(&successor.key.id.to_string()).await;
        let actions: Vec<_> = actions.iter().map(|event| event.action.as_str()).collect();
        assert_eq!(actions, ["key.issued", "key.revoked"]);
    }

    async fn a_revoked_key_ends_at_once(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.okta().await;
        assert_eq!(okta.get("/Users").await.status, 200);
        let key = keys(&test).await.remove(0);
        let mut tx = test.app.provision.store.begin().await.unwrap();
        test.app.keyring.revoke(&mut tx, &test.app.provision.operator(), &key).await.unwrap();
        tx.commit().await.unwrap();
        let answer = okta.get("/Users").await;
        assert!(assert_refused(&answer, 401, "").contains("revoked"));
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }

    async fn a_key_may_end_by_itself(database) {
        let test = TestInstance::on(&database).await;
        let connection = test.connection(ConnectionKind::Scim, "Short").await;
        let new = NewKey {
            instance: test.id,
            connection: Some(connection.id),
            name: "short".to_owned(),
            expires_at: Some(test.app.provision.clock.now().plus_ms(1_000)),
        };
        let mut tx = test.app.provision.store.begin().await.unwrap();
        let author = test.app.provision.operator();
        let issued = test.app.keyring.issue(&mut tx, &author, new).await.unwrap();
        tx.commit().await.unwrap();
        let short = client(&test, &issued.token);
        assert_eq!(short.get("/Users").await.status, 200);
        test.advance(Duration::from_secs(1));
        assert!(assert_refused(&short.get("/Users").await, 401, "").contains("expired"));
    }

    /// A thousand requests cost one write, which the server makes from time to time.
    async fn uses_are_kept_without_a_write_for_each_request(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.okta().await;
        for _ in 0..10 {
            okta.get("/Users").await;
        }
        assert_eq!(keys(&test).await[0].last_used_at, None);
        test.app.keyring.keep_uses(&test.app.provision.store).await.unwrap();
        let Timestamp(now) = test.app.provision.clock.now();
        assert_eq!(keys(&test).await[0].last_used_at, Some(Timestamp(now)));
    }

    async fn the_token_is_kept_nowhere(database) {
        let test = TestInstance::on(&database).await;
        let connection = test.connection(ConnectionKind::Okta, "Okta").await;
        let token = test.token(&connection).await;
        let key = keys(&test).await.remove(0);
        let mut tx = test.app.provision.store.read().await.unwrap();
        let trail =
            scimd::store::audit::search::of_target(&mut tx, test.id, key.id.0, 10).await.unwrap();
        assert_eq!(trail.len(), 1, "issuing a key leaves a trail");
        let kept = format!("{key:?} {}", serde_json::to_string(&trail).unwrap());
        for part in token.split('.').skip(1) {
            assert!(!kept.contains(part), "{kept}");
        }
        assert!(!serde_json::to_string(&key).unwrap().contains(&key.token_hash));
    }

    /// Okta's header mode sends the token without the word Bearer.
    async fn the_word_bearer_may_be_missing_or_in_any_case(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.okta().await;
        for (header, status) in [
            (okta.token.clone(), 200),
            (format!("bearer {}", okta.token), 200),
            (format!("BEARER  {}", okta.token), 200),
            (format!("Basic {}", okta.token), 401),
            ("Bearer ".to_owned(), 401),
        ] {
            let request = Request::get("/scim/v2/Users")
                .header("authorization", &header)
                .body(Body::empty())
                .unwrap();
            assert_eq!(okta.call(request).await.status, status, "{}", header.len());
        }
    }

    /// Two processes on one database sign and accept each other's keys.
    async fn replicas_share_the_signing_secret(database) {
        let test = TestInstance::on(&database).await;
        let connection = test.connection(ConnectionKind::Okta, "Okta").await;
        let token = test.token(&connection).await;
        let other = scimd::http::App::new(
            database.open().await,
            test.app.provision.clock.clone(),
            scimd::clock::Ids,
            scimd::http::Settings::default(),
        )
        .await
        .unwrap();
        assert_eq!(Client { app: other, token }.get("/Users").await.status, 200);
    }
}
