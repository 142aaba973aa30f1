//! Finding what a command is about by the name that the operator gave.

use anyhow::{Result, anyhow, bail};

use super::session::{Session, plain};
use crate::directory::{Connection, InstanceId, Timestamp};
use crate::scim::fold::fold;
use crate::store;
use crate::store::instances::Instance;
use crate::store::keys::ApiKey;
use crate::store::tenants::Tenant;

impl Session<'_> {
    /// The tenant of this name or id, or the only one.
    pub(super) async fn tenant(&self, wanted: Option<&str>) -> Result<Tenant> {
        let program = &self.program;
        let tenants = self.provision.tenants().await.map_err(plain)?;
        let names: Vec<_> = tenants.iter().map(|tenant| tenant.name.clone()).collect();
        let found = tenants.into_iter().filter(|tenant| match wanted {
            Some(wanted) => same(&tenant.name, wanted) || tenant.id.to_string() == wanted,
            None => true,
        });
        let none = format!("create one with `{program} tenants create NAME`");
        one(found.collect(), &names, wanted, ("tenant", "--tenant"), &none)
    }

    /// The instance of this name, id or TENANT/NAME, or the only one.
    pub(super) async fn instance(&self, wanted: Option<&str>) -> Result<Instance> {
        let program = &self.program;
        let instances = self.provision.instances().await.map_err(plain)?;
        let names: Vec<_> = instances.iter().map(full_name).collect();
        let found = instances.into_iter().filter(|instance| match wanted {
            Some(wanted) => {
                same(&instance.name, wanted)
                    || same(&full_name(instance), wanted)
                    || instance.id.to_string() == wanted
            }
            None => true,
        });
        let none = format!("create one with `{program} instances create NAME`");
        one(found.collect(), &names, wanted, ("instance", "--instance"), &none)
    }

    /// The connection of this name, id or directory key.
    pub(super) async fn connection(
        &self,
        instance: InstanceId,
        wanted: &str,
    ) -> Result<Connection> {
        let connections = self.provision.connections(instance).await.map_err(plain)?;
        let names: Vec<_> = connections.iter().map(|connection| connection.name.clone()).collect();
        let found = connections.into_iter().filter(|connection| {
            same(&connection.name, wanted)
                || connection.id.to_string() == wanted
                || connection.directory_key == wanted
        });
        let program = &self.program;
        let none = format!("create one with `{program} connections create NAME --kind KIND`");
        one(found.collect(), &names, Some(wanted), ("connection", ""), &none)
    }

    /// The key of this id, or the only live one of this name.
    pub(super) async fn key(&self, instance: InstanceId, wanted: &str) -> Result<ApiKey> {
        let keys = self.keys(instance).await?;
        if let Some(key) = keys.iter().find(|key| key.id.to_string() == wanted) {
            return Ok(key.clone());
        }
        let now = self.provision.clock.now();
        let named = keys.into_iter().filter(|key| same(&key.name, wanted) && is_live(key, now));
        let mut named: Vec<_> = named.collect();
        let program = &self.program;
        match (named.pop(), named.is_empty()) {
            (Some(key), true) => Ok(key),
            (Some(_), false) => Err(anyhow!(
                "several live keys are named \"{wanted}\": take the id of one from `{program} keys list`"
            )),
            (None, _) => Err(anyhow!(
                "there is no live key \"{wanted}\": take the id of one from `{program} keys list`"
            )),
        }
    }

    /// All keys of an instance.
    pub(super) async fn keys(&self, instance: InstanceId) -> Result<Vec<ApiKey>> {
        let mut tx = self.provision.store.read().await?;
        Ok(store::keys::list(&mut tx, instance).await?)
    }
}

/// TENANT/NAME.
pub(super) fn full_name(instance: &Instance) -> String {
    format!("{}/{}", instance.tenant_name, instance.name)
}

/// Whether a key still lets a client in.
pub(super) fn is_live(key: &ApiKey, now: Timestamp) -> bool {
    key.revoked_at.is_none() && key.expires_at.is_none_or(|expiry| expiry > now)
}

fn same(name: &str, wanted: &str) -> bool {
    fold(name) == fold(wanted)
}

/// The one that was found; else an error that says what there is to choose from.
fn one<T>(
    mut found: Vec<T>,
    names: &[String],
    wanted: Option<&str>,
    (kind, flag): (&str, &str),
    none: &str,
) -> Result<T> {
    let names = names.join(", ");
    match (found.pop(), wanted) {
        (Some(only), _) if found.is_empty() => Ok(only),
        (Some(_), Some(wanted)) => {
            bail!("several {kind}s are named \"{wanted}\": take its id, or one of {names}")
        }
        (Some(_), None) => bail!("there are several {kind}s; say which with {flag}: {names}"),
        (None, _) if names.is_empty() => bail!("there is no {kind} yet; {none}"),
        (None, wanted) => {
            let wanted = wanted.unwrap_or_default();
            bail!("there is no {kind} \"{wanted}\"; there are: {names}")
        }
    }
}
