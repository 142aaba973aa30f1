//! Users through HTTP.

use serde_json::json;

use super::support::{TestInstance, both};

both! {
    async fn a_user_is_created_read_and_found(database) {
        let okta = TestInstance::on(&database).await.okta().await;
        let id = okta.user("ann@example.com").await;
        let read = okta.get(&format!("/Users/{id}")).await;
        assert_eq!(read.at("/userName"), json!("ann@example.com"));
        let found = okta.find("/Users", "userName eq \"ANN@example.com\"").await;
        assert_eq!(found.at("/totalResults"), json!(1));
    }
}
