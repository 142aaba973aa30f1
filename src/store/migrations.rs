//! The schema, in steps that are never edited once released.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

macro_rules! migrations {
    ($folder:literal: $($version:literal $name:literal),* $(,)?) => {
        Migrator::with_migrations(vec![$(Migration::new(
            $version,
            Cow::Borrowed($name),
            MigrationType::Simple,
            include_str!(concat!("../../migrations/", $folder, "/", $name, ".sql")).into_sql_str(),
            false,
        )),*])
    };
}

/// For SQLite.
pub(super) fn sqlite() -> Migrator {
    migrations!("sqlite": 1 "0001_directory", 2 "0002_schemas", 3 "0003_queries", 4 "0004_rules", 5 "0005_pull", 6 "0006_audit", 7 "0007_retention", 8 "0008_guard", 9 "0009_directory", 10 "0010_requests", 11 "0011_migration", 12 "0012_counting")
}

/// For PostgreSQL: the same tables, columns and nullability.
pub(super) fn postgres() -> Migrator {
    migrations!("postgres": 1 "0001_directory", 2 "0002_schemas", 3 "0003_queries", 4 "0004_rules", 5 "0005_pull", 6 "0006_audit", 7 "0007_retention", 8 "0008_guard", 9 "0009_directory", 10 "0010_requests", 11 "0011_migration", 12 "0012_counting")
}
