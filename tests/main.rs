//! What crosses crates: the code base itself, and everything through the binary, told in the user's words.

#![allow(clippy::unwrap_used)]

mod book;
mod harness;
mod screen;

#[path = "stories/actor.rs"]
mod actor;
#[path = "stories/anchors.rs"]
mod anchors;
#[path = "stories/approvals.rs"]
mod approvals;
#[path = "stories/at_once.rs"]
mod at_once;
#[path = "stories/backup.rs"]
mod backup;
#[path = "stories/bench.rs"]
mod bench;
#[path = "stories/canary.rs"]
mod canary;
#[path = "stories/cancel.rs"]
mod cancel;
#[path = "stories/care.rs"]
mod care;
#[path = "stories/check.rs"]
mod check;
#[path = "stories/children.rs"]
mod children;
#[path = "stories/ci.rs"]
mod ci;
#[path = "stories/cluster.rs"]
mod cluster;
#[path = "stories/cluster_care.rs"]
mod cluster_care;
#[path = "stories/cluster_cli.rs"]
mod cluster_cli;
#[path = "stories/cluster_copies.rs"]
mod cluster_copies;
#[path = "stories/cluster_disk.rs"]
mod cluster_disk;
#[path = "stories/cluster_logs.rs"]
mod cluster_logs;
#[path = "stories/cluster_schedules.rs"]
mod cluster_schedules;
#[path = "stories/cluster_seen.rs"]
mod cluster_seen;
#[path = "stories/cluster_trouble.rs"]
mod cluster_trouble;
#[path = "stories/code_base.rs"]
mod code_base;
#[path = "stories/command_ids.rs"]
mod command_ids;
#[path = "stories/configuration.rs"]
mod configuration;
#[path = "stories/database.rs"]
mod database;
#[path = "stories/database_line.rs"]
mod database_line;
#[path = "stories/deploy.rs"]
mod deploy;
#[path = "stories/docs.rs"]
mod docs;
#[path = "stories/doctor.rs"]
mod doctor;
#[path = "stories/drills.rs"]
mod drills;
#[path = "stories/examples.rs"]
mod examples;
#[path = "stories/failover.rs"]
mod failover;
#[path = "stories/findings.rs"]
mod findings;
#[path = "stories/flow.rs"]
mod flow;
#[path = "stories/fmt.rs"]
mod fmt;
#[path = "stories/forecast.rs"]
mod forecast;
#[path = "stories/formats.rs"]
mod formats;
#[path = "stories/gates.rs"]
mod gates;
#[path = "stories/graph.rs"]
mod graph;
#[path = "stories/groups.rs"]
mod groups;
#[path = "stories/held.rs"]
mod held;
#[path = "stories/hostile.rs"]
mod hostile;
#[path = "stories/hostile_values.rs"]
mod hostile_values;
#[path = "stories/http.rs"]
mod http;
#[path = "stories/http_addresses.rs"]
mod http_addresses;
#[path = "stories/http_hostile.rs"]
mod http_hostile;
#[path = "stories/http_server.rs"]
mod http_server;
#[path = "stories/import.rs"]
mod import;
#[path = "stories/keys.rs"]
mod keys;
#[path = "stories/limits.rs"]
mod limits;
#[path = "stories/live.rs"]
mod live;
#[path = "stories/logging.rs"]
mod logging;
#[path = "stories/logs.rs"]
mod logs;
#[path = "stories/many.rs"]
mod many;
#[path = "stories/newcomer.rs"]
mod newcomer;
#[path = "stories/nginx.rs"]
mod nginx;
#[path = "stories/notify.rs"]
mod notify;
#[path = "stories/notify_trouble.rs"]
mod notify_trouble;
#[path = "stories/objectives.rs"]
mod objectives;
#[path = "stories/operator.rs"]
mod operator;
#[path = "stories/parameters.rs"]
mod parameters;
#[path = "stories/plan.rs"]
mod plan;
#[path = "stories/processes.rs"]
mod processes;
#[path = "stories/render.rs"]
mod render;
#[path = "stories/report.rs"]
mod report;
#[path = "stories/rollback.rs"]
mod rollback;
#[path = "stories/saved_plan.rs"]
mod saved_plan;
#[path = "stories/schedules.rs"]
mod schedules;
#[path = "stories/secrets.rs"]
mod secrets;
#[path = "stories/server.rs"]
mod server;
#[path = "stories/server_trouble.rs"]
mod server_trouble;
#[path = "stories/shell.rs"]
mod shell;
#[path = "stories/sql.rs"]
mod sql;
#[path = "stories/sql_trouble.rs"]
mod sql_trouble;
#[path = "stories/ssh.rs"]
mod ssh;
#[path = "stories/ssh_hosts.rs"]
mod ssh_hosts;
#[path = "stories/ssh_trouble.rs"]
mod ssh_trouble;
#[path = "stories/survival.rs"]
mod survival;
#[path = "stories/templates.rs"]
mod templates;
#[path = "stories/trouble.rs"]
mod trouble;
#[path = "stories/units.rs"]
mod units;
#[path = "stories/values.rs"]
mod values;
#[path = "stories/watch.rs"]
mod watch;
