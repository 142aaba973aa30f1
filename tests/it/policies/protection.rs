//! Protected accounts: out of reach on every road.

use super::*;
use crate::support::{Answer, PATCH_OP};

async fn protect(test: &TestInstance, id: &str, protected: bool) -> Result<(), Error> {
    let (provision, author) = (&test.app.provision, test.app.provision.operator());
    provision.set_protected(&author, test.id, id.parse().unwrap(), protected).await.map(drop)
}

both! {
    async fn a_protected_account_is_out_of_reach_on_every_road(database) {
        let test = TestInstance::on(&database).await;
        let root = test.local_person("root", json!({ "emails": [{ "value": "root@x" }] })).await;
        let staff = test.local_group("Staff").await;
        protect(&test, &root, true).await.unwrap();
        let mut tx = test.app.provision.store.begin().await.unwrap();
        let member: uuid::Uuid = root.parse().unwrap();
        let members = [(scimd::directory::MemberId(member), scimd::directory::MemberKind::Account)];
        let group = staff.parse().unwrap();
        scimd::store::memberships::add(&mut tx, test.id, group, &members).await.unwrap();
        tx.commit().await.unwrap();
        let path = format!("/Users/{root}");
        let before = test.account("root").await;
        let change = json!([{ "op": "replace", "path": "active", "value": false }]);
        for policy in [PickUp::WithApproval, PickUp::ByUserName] {
            let okta = test.actor(ConnectionKind::Okta, policy.word(), policy).await.client;
            assert_eq!(okta.count("/Users", "userName eq \"root\"").await, 1);
            let body = || person("root", json!({ "active": false }));
            let refused = |answer: &Answer| {
                let detail = assert_refused(answer, 403, "");
                assert!(detail.contains("is protected"), "{detail}");
            };
            refused(&okta.put(&path, body()).await);
            refused(&okta.patch(&path, change.clone()).await);
            refused(&okta.delete(&path).await);
            let detail = assert_refused(&okta.post("/Users", body()).await, 409, "uniqueness");
            assert!(detail.contains("protected"), "{detail}");
            let bulk = okta.post("/Bulk", json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
                "Operations": [
                    { "method": "PUT", "path": path, "data": body() },
                    { "method": "PATCH", "path": path,
                      "data": { "schemas": [PATCH_OP], "Operations": change } },
                    { "method": "DELETE", "path": path },
                    { "method": "POST", "path": "/Users", "bulkId": "a", "data": body() },
                ],
            })).await;
            let told: Vec<_> = (0..4).map(|at| bulk.at(&format!("/Operations/{at}/status"))).collect();
            assert_eq!(told, ["403", "403", "403", "409"]);
            // As a member it is nobody to any connection: not shown, not added, not removed.
            let own = okta.user(&format!("own {policy}")).await;
            let team = okta.group(&format!("Team {policy}"), &[&root, &own]).await;
            assert_eq!(okta.members(&team).await, [own.as_str()]);
            assert_eq!(okta.members(&staff).await, [""; 0]);
            assert_eq!(okta.count("/Groups", &format!("members.value eq \"{root}\"")).await, 0);
            assert_eq!(okta.count("/Users", &format!("groups.value eq \"{staff}\"")).await, 0);
            assert_eq!(okta.get(&path).await.at("/groups"), json!(null));
            let value = json!([{ "value": root }]);
            for operation in [
                json!({ "op": "add", "path": "members", "value": value }),
                json!({ "op": "remove", "path": "members", "value": value }),
                json!({ "op": "remove", "path": format!("members[value eq \"{root}\"]") }),
                json!({ "op": "remove", "path": "members[value pr]" }),
                json!({ "op": "replace", "path": "members", "value": [] }),
                json!({ "op": "remove", "path": "members" }),
            ] {
                let answer = okta.patch(&format!("/Groups/{staff}"), json!([operation])).await;
                assert_eq!(answer.status, 200, "{operation}: {answer:?}");
            }
            assert_eq!(okta.put(&format!("/Groups/{staff}"), super::team("Staff", &[])).await.status, 200);
            let kept = test.app.provision.group(test.id, "Staff", 10).await.unwrap().unwrap().1;
            assert_eq!(kept.len(), 1, "{policy}: a protected member was removed");
        }
        assert_eq!(test.account("root").await, before);
        assert!(test.waiting().await.iter().all(|asked| asked.target.to_string() != root));
    }

    async fn only_local_accounts_are_protected_and_the_last_one_stays(database) {
        let test = TestInstance::on(&database).await;
        let okta = test.okta().await;
        let theirs = okta.user("theirs").await;
        assert!(detail(protect(&test, &theirs, true).await).contains("make it Local first"));
        let one = test.local_person("one", json!({})).await;
        let two = test.local_person("two", json!({})).await;
        let off = test.local_person("off", json!({ "active": false })).await;
        for id in [&one, &two, &off, &one] {
            protect(&test, id, true).await.unwrap();
        }
        assert_eq!(test.actions(&one).await, ["account.created", "account.protected"]);
        protect(&test, &two, false).await.unwrap();
        assert!(detail(protect(&test, &one, false).await).contains("last protected"));
        protect(&test, &off, false).await.unwrap();
        assert!(test.account("one").await.protected);
        // Free again, it can be picked up.
        assert_eq!(okta.put(&format!("/Users/{two}"), person("two", json!({}))).await.status, 200);
    }

    async fn two_who_end_the_last_protections_at_once_leave_one(database) {
        let test = TestInstance::on(&database).await;
        let (one, two) = (test.local_person("one", json!({})).await, test.local_person("two", json!({})).await);
        for round in 0..20 {
            for id in [&one, &two] {
                protect(&test, id, true).await.unwrap();
            }
            let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(2));
            let ending: Vec<_> = [one.clone(), two.clone()].into_iter().map(|id| {
                let (provision, barrier) = (test.app.provision.clone(), barrier.clone());
                let (instance, author) = (test.id, provision.operator());
                tokio::spawn(async move {
                    barrier.wait().await;
                    provision.set_protected(&author, instance, id.parse().unwrap(), false).await.is_ok()
                })
            }).collect();
            let mut ended = 0;
            for done in ending {
                ended += u32::from(done.await.unwrap());
            }
            assert_eq!(ended, 1, "{round}");
        }
    }
}
