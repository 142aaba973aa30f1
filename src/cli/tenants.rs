//! Tenants and their instances.

use anyhow::Result;
use serde_json::json;

use super::args::{InstancesCommand, TenantsCommand};
use super::scope::full_name;
use super::session::{Session, plain};
use super::{requests, retention};
use crate::store::instances::Instance;

pub(super) async fn run_tenants(session: &mut Session<'_>, command: TenantsCommand) -> Result<()> {
    match command {
        TenantsCommand::Create { name } => {
            let tenant = session.provision.create_tenant(&name).await.map_err(plain)?;
            let program = &session.program;
            session.out.show(&json!({ "tenant": tenant }), |text| {
                text.line(format!("Tenant {} was created ({}).", tenant.name, tenant.id))?;
                text.line(format!("Next: {program} instances create production"))
            })?;
        }
        TenantsCommand::List => {
            let tenants = session.provision.tenants().await.map_err(plain)?;
            session.out.show(&json!({ "tenants": tenants }), |text| {
                let rows = tenants.iter().map(|tenant| {
                    vec![tenant.name.clone(), tenant.id.to_string(), tenant.created_at.to_string()]
                });
                text.table(&["NAME", "ID", "CREATED"], rows)
            })?;
        }
        TenantsCommand::Show { tenant } => {
            let tenant = session.tenant(Some(&tenant)).await?;
            let mut instances = session.provision.instances().await.map_err(plain)?;
            instances.retain(|instance| instance.tenant == tenant.id);
            let json = json!({ "tenant": tenant, "instances": instances });
            session.out.show(&json, |text| {
                text.fields(&[
                    ("name", tenant.name.clone()),
                    ("id", tenant.id.to_string()),
                    ("created", tenant.created_at.to_string()),
                ])?;
                text.line("")?;
                text.table(INSTANCE_HEADER, instances.iter().map(instance_row))
            })?;
        }
    }
    Ok(())
}

pub(super) async fn run_instances(
    session: &mut Session<'_>,
    command: InstancesCommand,
) -> Result<()> {
    match command {
        InstancesCommand::Create { name, tenant } => {
            let tenant = session.tenant(tenant.as_deref()).await?;
            let author = session.provision.operator();
            let created = session.provision.create_instance(&author, &tenant, &name);
            let instance = created.await.map_err(plain)?;
            let program = &session.program;
            session.out.show(&json!({ "instance": instance }), |text| {
                let (name, id) = (full_name(&instance), instance.id);
                text.line(format!("Instance {name} was created ({id})."))?;
                text.line(format!("Next: {program} connections create Okta --kind okta"))
            })?;
        }
        InstancesCommand::List { tenant } => {
            let mut instances = session.provision.instances().await.map_err(plain)?;
            if let Some(tenant) = tenant {
                let tenant = session.tenant(Some(&tenant)).await?;
                instances.retain(|instance| instance.tenant == tenant.id);
            }
            session.out.show(&json!({ "instances": instances }), |text| {
                text.table(INSTANCE_HEADER, instances.iter().map(instance_row))
            })?;
        }
        InstancesCommand::Show { name } => {
            let instance = session.instance(Some(&name)).await?;
            let connections = session.provision.connections(instance.id).await;
            let connections = connections.map_err(plain)?;
            let kept = session.provision.retention(instance.id).await.map_err(plain)?;
            let json = json!({
                "instance": instance, "connections": connections, "retention_days": kept,
            });
            session.out.show(&json, |text| {
                text.fields(&[
                    ("name", instance.name.clone()),
                    ("tenant", instance.tenant_name.clone()),
                    ("id", instance.id.to_string()),
                    ("created", instance.created_at.to_string()),
                    ("deleted kept", retention::days_of(kept)),
                ])?;
                text.line("")?;
                super::connections::table(text, &connections)
            })?;
        }
        InstancesCommand::Retention(wanted) => retention::retention(session, &wanted).await?,
        InstancesCommand::Requests(wanted) => requests::days(session, &wanted).await?,
    }
    Ok(())
}

const INSTANCE_HEADER: &[&str] = &["TENANT", "NAME", "ID", "CREATED"];

fn instance_row(instance: &Instance) -> Vec<String> {
    vec![
        instance.tenant_name.clone(),
        instance.name.clone(),
        instance.id.to_string(),
        instance.created_at.to_string(),
    ]
}
