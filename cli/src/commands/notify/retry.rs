//! `runward notify retry`: dead letters, from the start again. On the record, with who wanted it.

use runward_store::outbox::{DeliveryState, NoticeQuery};
use runward_store::{AdminEvent, DeliveryRef};
use serde_json::json;

use super::{named, short};
use crate::actor::actor;
use crate::args::{Format, NotifyRetryArgs};
use crate::commands::{print_json, print_line};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::open;
use crate::text;

pub async fn run(config: &Config, args: NotifyRetryArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let outbox = opened.outbox();
    let all = outbox.notices(&NoticeQuery::default()).await?;
    let meant = match &args.id {
        None => all.iter().collect(),
        Some(id) => match named(&all, id) {
            found if found.is_empty() => {
                return Err(Failure::usage(format!("no notification has the id `{id}`"))
                    .help("`runward notify list` names them"));
            }
            found if found.len() > 1 => {
                let ids: Vec<&str> = found.iter().take(5).map(|row| row.notice.id.as_str()).collect();
                return Err(Failure::usage(format!("`{id}` fits {}", text::count(found.len() as u64, "notification")))
                    .help(format!("give more of it, such as {}", ids.join(", "))));
            }
            found => found,
        },
    };
    let of = |channel: &str| args.channel.as_ref().is_none_or(|wanted| wanted == channel);
    let dead = meant.iter().flat_map(|row| {
        let dead = row.deliveries.iter().filter(|it| it.state == DeliveryState::Dead && of(&it.channel));
        dead.map(|it| DeliveryRef { notice: row.notice.id.clone(), channel: it.channel.clone() })
    });
    let event = AdminEvent::DeliveriesRetried { deliveries: dead.collect(), reason: args.reason };
    let done = opened.ledger().administer(event, &actor()).await?;
    let AdminEvent::DeliveriesRetried { deliveries, .. } = done else { return Ok(0) };
    match args.format {
        Format::Json => print_json(&json!({"retried": deliveries})),
        Format::Text if deliveries.is_empty() => print_line("nothing of it is dead: nothing was changed"),
        Format::Text => {
            for it in &deliveries {
                print_line(&format!("{} by {} is tried again", short(&it.notice), it.channel));
            }
            print_line(&format!(
                "{} sent by the next server, run, or `runward notify deliver`",
                text::count(deliveries.len() as u64, "notification")
            ));
        }
    }
    Ok(0)
}
