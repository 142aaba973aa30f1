//! What no well-meaning client sends around a body: each request is refused in the protocol's
//! words, and nothing of it is kept.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use jsonwebtoken::{Algorithm, EncodingKey, dangerous, decode_header, encode};
use scimd::directory::Timestamp;
use scimd::http::Settings;
use scimd::keys::NewKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Barrier;

use super::support::{
    Database, Scene, TestInstance, TestServer, assert_refused, both, person, request, team,
};

both! {
    async fn an_id_is_compared_letter_by_letter(database) {
        let scene = Scene::on(&database).await;
        let plain = |path: &str| path.rsplit('/').next().unwrap().to_owned();
        let (user, group) = (plain(&scene.user), plain(&scene.group));
        let shapes = |id: &str| vec![
            id.to_uppercase(), id.replace('-', ""), format!("%7B{id}%7D"), format!("urn:uuid:{id}"),
            format!("{id}%20"),
            format!("%20{id}"), format!("{id}%00"), format!("{id}%0A"), id[..35].to_owned(),
            format!("{id}0"), format!("{id}%2F"),
            format!("..%2FUsers%2F{id}"), format!("{id},{id}"), format!("{id};v=1"),
            format!("*{id}"),
        ];
        let mut wrong = Vec::new();
        for (endpoint, ids) in [("/Users", shapes(&user)), ("/Groups", shapes(&group))] {
            for id in ids {
                let answer = scene.client.get(&format!("{endpoint}/{id}")).await;
                if answer.status == 404 {
                    assert_refused(&answer, 404, "");
                } else {
                    wrong.push(format!("{endpoint}/{id}: {}", answer.status));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    async fn an_id_that_is_none_leads_nowhere(database) {
        let scene = Scene::on(&database).await;
        let plain = |path: &str| path.rsplit('/').next().unwrap().to_owned();
        let (user, group) = (plain(&scene.user), plain(&scene.group));
        let none = [
            "00919288221112222", "1", "-1", "0", "null", "undefined", "me", "x'%20OR%20'1'='1",
            "%25", "%2e%2e", "%ff%fe", "%00",
            "%C0%80", "%ED%A0%80", "%F0%9F%92%A9", "%zz", "%",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff", "019f0000-0000-7000-8000-000000000000",
            "bulkId:x", "*",
        ].map(str::to_owned);
        let none = none.into_iter().chain(
            ["9".repeat(10_000), "%ff".repeat(3_000), "\u{41}".repeat(300)],
        );
        let none: Vec<_> = none.collect();
        for (endpoint, ids) in [
            ("/Users", vec![group]), ("/Users", none.clone()), ("/Groups", vec![user]),
            ("/Groups", none),
        ] {
            let body = if endpoint == "/Users" { person("x", json!({})) } else { team("x", &[]) };
            for id in ids {
                let path = format!("{endpoint}/{id}");
                let change = json!([{ "op": "replace", "path": "displayName", "value": "x" }]);
                for answer in [
                    scene.client.get(&path).await, scene.client.put(&path, body.clone()).await,
                    scene.client.patch(&path, change).await, scene.client.delete(&path).await,
                ] {
                    let shown: String = path.chars().take(80).collect();
                    assert_eq!(answer.status, 404, "{shown}: {answer:?}");
                    assert!(assert_refused(&answer, 404, "").len() < 500, "{shown}");
                }
            }
        }
        scene.assert_unchanged().await;
    }

    async fn wrong_places_methods_and_types_are_named(database) {
        let scene = Scene::on(&database).await;
        let send = async |method: &str, path: &str| {
            scene.client.send(method, path, Some(person("x", json!({})))).await
        };
        for path in [
            "/People", "/users", "/Users/a/b", "/Users/a/b/c", "/Schemas/nonsense",
            "/ResourceTypes/x", "/%00", "/../x",
        ] {
            assert_refused(&send("GET", path).await, 404, "");
        }
        for (path, methods, allowed) in [
            ("/Users", "PUT PATCH DELETE", "GET POST"), ("/Groups", "PUT PATCH DELETE", "GET POST"),
            (scene.user.as_str(), "POST TRACE", "GET PUT PATCH DELETE"),
            (&scene.group, "POST", "GET PUT PATCH DELETE"),
            ("/Schemas", "POST PUT PATCH DELETE", "GET"),
            ("/ResourceTypes", "POST PUT PATCH DELETE", "GET"),
            ("/ServiceProviderConfig", "POST PUT PATCH DELETE", "GET"),
            ("/Schemas/x", "POST PUT DELETE", "GET"),
        ] {
            for method in methods.split(' ') {
                let answer = send(method, path).await;
                assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
                assert_refused(&answer, 405, "");
                for word in allowed.split(' ') {
                    assert!(answer.header("allow").contains(word), "{method} {path}: {answer:?}");
                }
            }
        }
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            assert_refused(&send(method, "/Me").await, 501, "");
        }
        let body = person("typed", json!({})).to_string();
        for media_type in [
            "text/plain", "text/html; charset=utf-8", "application/xml", "image/png",
            "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
            "application/octet-stream", "application/jsonx",
        ] {
            for (method, path) in [
                ("POST", "/Users"), ("PUT", &scene.user), ("PATCH", &scene.group),
            ] {
                let request = request(
                    &scene.client, method, path,
                ).header("content-type", media_type);
                let answer = scene.client.call(
                    request.body(Body::from(body.clone())).unwrap(),
                ).await;
                let detail = assert_refused(&answer, 415, "");
                assert!(detail.contains("application/scim+json"), "{detail}");
            }
        }
        scene.assert_unchanged().await;
        for media_type in [
            "application/scim+json", "application/json", "application/json;charset=utf-8",
            "Application/SCIM+JSON; Charset=\"UTF-8\"",
        ] {
            let request = request(
                &scene.client, "PUT", &scene.user,
            ).header("content-type", media_type);
            let answer = scene.client.call(request.body(Body::from(body.clone())).unwrap()).await;
            assert_eq!(answer.status, 200, "{media_type}: {answer:?}");
        }
    }

    async fn a_body_over_the_limit_is_not_read(database) {
        let settings = Settings { body_bytes_max: 64 * 1024, ..Settings::default() };
        let test = TestInstance::with(&database, settings).await;
        let client = test.entra().await;
        let before = test.everything().await;
        let large = |size| person("large", json!({ "title": "x".repeat(size) })).to_string();
        for path in ["/Users", "/Groups"] {
            for announced in [
                None, Some("1000000000000"), Some("18446744073709551615"), Some("65537"),
            ] {
                let mut request = request(&client, "POST", path).header(
                    "content-type", "application/scim+json",
                );
                if let Some(length) = announced {
                    request = request.header("content-length", length);
                }
                let body = announced.map_or_else(|| Body::from(large(70_000)), |_| Body::empty());
                let detail = assert_refused(
                    &client.call(request.body(body).unwrap()).await, 413, "",
                );
                assert!(detail.contains("65536"), "{detail}");
            }
        }
        // Without an announcement and without an end: the answer comes all the same.
        let server = TestServer::start(test.app.clone()).await;
        let mut socket = tokio::net::TcpStream::connect(
            server.base.trim_start_matches("http://"),
        ).await.unwrap();
        let head = format!(
            "POST /scim/v2/Users HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: \
             application/json\r\ntransfer-encoding: chunked\r\n\r\n", client.token,
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..66 {
            socket.write_all(format!("400\r\n{}\r\n", " ".repeat(1024)).as_bytes()).await.unwrap();
        }
        let mut answer = vec![0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413");
        drop(socket);
        assert_eq!(test.everything().await, before);
        assert_eq!(
            client.post(
                "/Users", person("large", json!({ "title": "x".repeat(60_000) })),
            ).await.status,
            201,
        );
        server.stop().await;
    }

    async fn only_a_real_key_opens_and_only_its_holder_learns_why_not(database) {
        let scene = Scene::on(&database).await;
        let (test, app) = (&scene.test, &scene.test.app);
        let connection = test.connection(scimd::directory::ConnectionKind::Okta, "keys").await;
        let author = app.provision.operator();
        let mut issued = Vec::new();
        for expires_at in [None, Some(Timestamp(author.at.0 + 1000)), None] {
            let new = NewKey {
                instance: test.id, connection: Some(connection.id), name: "k".to_owned(), expires_at,
            };
            let mut tx = app.provision.store.begin().await.unwrap();
            issued.push(app.keyring.issue(&mut tx, &author, new).await.unwrap());
            tx.commit().await.unwrap();
        }
        let try_header = async |header: &[u8]| {
            let request = Request::builder().uri("/scim/v2/Users").header("authorization", header);
            scene.client.call(request.body(Body::empty()).unwrap()).await
        };
        let token = |at: usize| issued[at].token.clone();
        for at in 0..3 {
            for form in [
                format!("Bearer {}", token(at)), format!("bearer  {}", token(at)),
                format!("BEARER {} ", token(at)), token(at),
            ] {
                assert_eq!(try_header(form.as_bytes()).await.status, 200, "{form}");
            }
        }
        let mut tx = app.provision.store.begin().await.unwrap();
        app.keyring.revoke(&mut tx, &author, &issued[2].key).await.unwrap();
        tx.commit().await.unwrap();
        test.advance(std::time::Duration::from_secs(1));
        let mut forged = Vec::new();
        for real in [token(0), token(1), token(2)] {
            let header = decode_header(&real).unwrap();
            let claims: Value = dangerous::insecure_decode_claims(&real).unwrap();
            let signed = |algorithm, claims: &Value, secret: &[u8]| {
                let header = jsonwebtoken::Header { alg: algorithm, ..header.clone() };
                encode(&header, claims, &EncodingKey::from_secret(secret)).unwrap()
            };
            let parts: Vec<&str> = real.split('.').collect();
            let mut other = claims.clone();
            other["instance"] = json!("019f0000-0000-7000-8000-000000000000");
            // The header says {"alg":"none","typ":"JWT"}.
            let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
            forged.extend([
                format!("{none}.{}.", parts[1]), format!("{none}.{}.{}", parts[1], parts[2]),
                format!("{}.{}.", parts[0], parts[1]),
                signed(Algorithm::HS256, &claims, b""),
                signed(Algorithm::HS256, &claims, b"secret"),
                signed(Algorithm::HS512, &claims, b"secret"),
                signed(Algorithm::HS256, &other, b"secret"),
                format!(
                    "{}.{}.{}", parts[0],
                    signed(Algorithm::HS256, &other, b"x").split('.').nth(1).unwrap(), parts[2],
                ),
                real[..real.len() - 1].to_owned(), format!("{real}A"), format!("A{real}"),
                real.to_uppercase(), format!("{real}.{real}"),
                parts[..2].join("."), format!("{real}=="), format!("{real}{}", "A".repeat(10_000)),
            ]);
        }
        let another = Database::sqlite();
        let stranger = TestInstance::on(&another).await;
        forged.push(stranger.okta().await.token);
        forged.extend(["x", "", ".", "..", "null", "a.b.c", "\u{e9}"].map(str::to_owned));
        let mut bad: Vec<(Vec<u8>, &str)> = Vec::new();
        for token in &forged {
            bad.push((format!("Bearer {token}").into_bytes(), ""));
        }
        for header in ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", "Digest x"] {
            bad.push((header.as_bytes().to_vec(), ""));
        }
        bad.push((format!("Basic {}", token(0)).into_bytes(), ""));
        bad.push((format!("Bearer {} {}", token(0), token(0)).into_bytes(), ""));
        bad.push((b"Bearer \xff\xfe".to_vec(), ""));
        bad.push((format!("Bearer {}", token(1)).into_bytes(), "expired"));
        bad.push((token(2).into_bytes(), "revoked"));
        for (header, word) in bad {
            let shown = String::from_utf8_lossy(&header).chars().take(300).collect::<String>();
            let answer = try_header(&header).await;
            assert_eq!(answer.status, 401, "{shown}: {answer:?}");
            let detail = assert_refused(&answer, 401, "");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{shown}: {answer:?}");
            for secret in ["expired", "revoked"] {
                assert_eq!(detail.contains(secret), word == secret, "{shown}: {detail}");
            }
        }
        for (method, path) in [
            ("GET", "/Users"), ("POST", "/Users"), ("GET", "/Schemas"), ("DELETE", &*scene.user),
            ("PATCH", &scene.group), (
                "GET", "/ServiceProviderConfig",
            ), ("POST", "/Bulk"), ("GET", "/Me"),
        ] {
            let request = Request::builder().method(method).uri(format!("/scim/v2{path}"));
            let answer = scene.client.call(request.body(Body::from("nonsense")).unwrap()).await;
            assert_refused(&answer, 401, "");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
        }
        assert_eq!(try_header(token(0).as_bytes()).await.status, 200);
        scene.assert_unchanged().await;
    }

    async fn of_many_who_create_the_same_name_at_once_one_succeeds(database) {
        let client = TestInstance::on(&database).await.entra().await;
        for (endpoint, round) in (0..20).flat_map(|round| [("/Users", round), ("/Groups", round)]) {
            let barrier = Arc::new(Barrier::new(8));
            let attempts: Vec<_> = (0..8).map(|number| {
                let (client, barrier) = (client.clone(), Arc::clone(&barrier));
                let name = format!("{}{round}", if number % 2 == 0 { "Race" } else { "RACE" });
                let body = match endpoint {
                    "/Users" => person(&name, json!({})),
                    _ => team(&name, &[]),
                };
                tokio::spawn(async move {
                    barrier.wait().await;
                    client.post(endpoint, body).await
                })
            }).collect();
            let mut created = 0;
            for attempt in attempts {
                let answer = attempt.await.unwrap();
                if answer.status == 201 {
                    created += 1;
                } else {
                    assert_refused(&answer, 409, "uniqueness");
                }
            }
            assert_eq!(created, 1, "{endpoint} {round}");
            let attribute = if endpoint == "/Users" { "userName" } else { "displayName" };
            assert_eq!(client.count(endpoint, &format!("{attribute} eq \"race{round}\"")).await, 1);
        }
    }
}
