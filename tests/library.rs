//! The runbooks of `runbooks/`, run by the binary on real servers, with their effect looked at from outside.
//!
//! What a test saw it says to the [`operator::Operator`], who looks into the ledger, too, and keeps it as evidence for
//! `runbooks/COVERAGE.md`.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod harness;
#[allow(dead_code)]
#[path = "stories/http_server.rs"]
mod http_server;
#[path = "library/operator.rs"]
mod operator;
#[allow(dead_code)]
#[path = "stories/ssh_hosts.rs"]
mod ssh_hosts;

#[path = "library/place.rs"]
mod place;

#[path = "library/alerts.rs"]
mod alerts;
#[path = "library/balance.rs"]
mod balance;
#[path = "library/bluegreen.rs"]
mod bluegreen;
#[path = "library/caches.rs"]
mod caches;
#[path = "library/capacity.rs"]
mod capacity;
#[path = "library/checks.rs"]
mod checks;
#[path = "library/containers.rs"]
mod containers;
#[path = "library/coverage.rs"]
mod coverage;
#[path = "library/daily_logs.rs"]
mod daily_logs;
#[path = "library/deploy.rs"]
mod deploy;
#[path = "library/disaster.rs"]
mod disaster;
#[path = "library/dumps.rs"]
mod dumps;
#[path = "library/edge.rs"]
mod edge;
#[path = "library/failover.rs"]
mod failover;
#[path = "library/firewall.rs"]
mod firewall;
#[path = "library/frontend.rs"]
mod frontend;
#[path = "library/health.rs"]
mod health;
#[path = "library/incident.rs"]
mod incident;
#[path = "library/kubernetes.rs"]
mod kubernetes;
#[path = "library/llm.rs"]
mod llm;
#[path = "library/maintenance.rs"]
mod maintenance;
#[path = "library/migrate.rs"]
mod migrate;
#[path = "library/offsite.rs"]
mod offsite;
#[path = "library/own.rs"]
mod own;
#[path = "library/packages.rs"]
mod packages;
#[path = "library/people.rs"]
mod people;
#[path = "library/pool.rs"]
mod pool;
#[path = "library/production.rs"]
mod production;
#[path = "library/queue.rs"]
mod queue;
#[path = "library/rcluster.rs"]
mod rcluster;
#[path = "library/release.rs"]
mod release;
#[path = "library/routine.rs"]
mod routine;
#[path = "library/scan.rs"]
mod scan;
#[path = "library/seasons.rs"]
mod seasons;
#[path = "library/slow.rs"]
mod slow;
#[path = "library/tls.rs"]
mod tls;
#[path = "library/triage.rs"]
mod triage;
#[path = "library/tune.rs"]
mod tune;
#[path = "library/units.rs"]
mod units;
#[path = "library/upgrade.rs"]
mod upgrade;
#[path = "library/wal.rs"]
mod wal;
