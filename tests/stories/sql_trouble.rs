//! What `sql` steps must not do on a real server: change what they cannot tell of, leave something behind, change a value.

use runward_services::Postgres;
use serde_json::json;

use crate::sql::{ask, with_postgres};

#[test]
fn what_cannot_be_told_is_not_committed() {
    let postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    postgres.sql("app", "create table t (n int)");
    for (value, why) in [
        ("(repeat('[', 90) || repeat(']', 90))::jsonb", "nested more than 64 deep"),
        ("'12345678901234567890123'::jsonb", "more digits than can be kept"),
    ] {
        let query = format!("query: |\n  insert into t values (1);\n  select {value} as doc");
        let (step, _) = ask(&scene, 1, "{}", &query);
        assert!(step["error"].as_str().unwrap().contains(why), "{step}");
    }
    assert_eq!(postgres.sql("app", "select count(*) from t"), "0");
}

#[test]
fn nothing_stays_on_the_server_and_bytes_in_a_list_are_bytes() {
    let postgres = Postgres::start();
    let scene = with_postgres(&postgres);
    let query = "query: |\n  select ${{ params.b }}::bytea[];\n  select ${{ params.b }}::bytea[] as bytes, sum(n)::numeric as sum, \
                 (select count(*) from pg_prepared_statements where not from_sql) as left_behind from generate_series(1, 3) as n\nexpect: {rows: 1}";
    let (step, _) = ask(&scene, 0, "{b: {type: list, default: ['a\\b', 'x']}}", query);
    assert_eq!(
        step["outputs"]["rows"],
        json!([{"bytes": ["\\x615c62", "\\x78"], "sum": "6", "left_behind": 0}]),
        "{step}"
    );
}
