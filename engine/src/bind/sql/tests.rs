//! Where values may stand in SQL, and where its statements end.

use proptest::prelude::*;

use super::*;

fn compiled(text: &str) -> Result<SqlTemplate, Vec<ExpressionError>> {
    SqlTemplate::compile(&Template::parse(text).unwrap())
}

fn texts(text: &str) -> Vec<String> {
    let all = compiled(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    all.statements.iter().map(|statement| statement.text(|n| format!("${}", n + 1))).collect()
}

fn refused(text: &str) -> (String, String) {
    let errors = compiled(text).expect_err(text);
    (errors[0].message.clone(), errors[0].help.clone().unwrap_or_default())
}

#[test]
fn a_value_becomes_a_parameter_wherever_the_text_is_code() {
    for (text, wanted) in [
        ("select * from t where a = ${{ item }} and b=${{ index }}", "select * from t where a = $1 and b=$2"),
        (
            "insert into t values (${{ item }}, 'it''s', E'\\'', \"a\"\"b\")",
            "insert into t values ($1, 'it''s', E'\\'', \"a\"\"b\")",
        ),
        ("select $$ ; ' $$ || ${{ item }} -- '\n", "select $$ ; ' $$ || $1 -- '\n"),
        ("select $a$ $$ $a$, ${{ item }} /* ' /* */ \" */", "select $a$ $$ $a$, $1 /* ' /* */ \" */"),
        ("select '--', ${{ item }}::jsonb->>'x'", "select '--', $1::jsonb->>'x'"),
        (
            "select extract(year from ${{ item }}), a is distinct from ${{ index }} from t",
            "select extract(year from $1), a is distinct from $2 from t",
        ),
        ("select 'e' as e, x[${{ index }}:2] from t for update", "select 'e' as e, x[$1:2] from t for update"),
        ("select a$b, $x from t where y = ${{ item }}", "select a$b, $x from t where y = $1"),
    ] {
        assert_eq!(texts(text), [wanted], "{text}");
    }
}

#[test]
fn statements_end_where_the_database_would_end_them() {
    assert_eq!(texts("a 1; ; b 2 ;-- done\n"), ["a 1", " b 2 "]);
    assert_eq!(
        texts("insert into t values (';');\nselect ${{ item }};"),
        ["insert into t values (';')", "\nselect $1"]
    );
    let trigger =
        "create trigger g after insert on t begin update t set a = case when 1 then 2 end; delete from t; end";
    assert_eq!(texts(&format!("{trigger}; select 1")), [trigger, " select 1"]);
    let function = "create function f() returns int language sql begin atomic select 1; select 2; end";
    assert_eq!(texts(function), [function]);
    assert_eq!(texts("select case when a then 1 end; select 2").len(), 2);
    assert_eq!(refused(" -- nothing\n").0, "there is no statement here");
}

#[test]
fn a_value_where_no_value_can_stand_is_refused_with_what_to_write() {
    for (text, message, help) in [
        ("select * from t where a like '%${{ item }}%'", "inside a quoted text", "'%' || ${{ }} || '%'"),
        ("select e'\\'${{ item }}'", "inside a quoted text", "take the quotes away"),
        ("select \"${{ item }}\" from t", "inside a quoted name", "cannot be values"),
        ("select `${{ item }}` from t", "inside a quoted name", "cannot be values"),
        ("select 1 -- ${{ item }}", "in a comment", "take it out"),
        ("select 1 /* /* */ ${{ item }} */", "in a comment", "take it out"),
        ("do $x$ begin perform ${{ item }}; end $x$", "inside a dollar-quoted", "set_config"),
        ("select * from ${{ item }}", "after `FROM` stands a name", "write the name out"),
        ("select * from t order by ${{ item }}", "after `BY` stands a name", "write the name out"),
        ("update ${{ item }} set a = 1", "after `UPDATE`", "write the name out"),
        ("insert into ${{ item }} values (1)", "after `INTO`", "write the name out"),
        ("select * from t_${{ item }}", "in the middle of a name", "cannot be values"),
        ("select ${{ item }}abc", "goes on without a blank", "`||`"),
        ("select ${{ item }}${{ index }}", "two values stand together", "`||`"),
        ("set x = ${{ item }}", "take no values in `SET`", "set_config"),
        ("notify c, ${{ item }}", "take no values in `NOTIFY`", "pg_notify"),
        ("alter role ${{ item }} login", "take no values in `ALTER`", "write it out"),
        ("select $1, ${{ item }}", "a parameter that nobody fills", "`${{ }}`"),
        ("begin; select 1; commit", "`BEGIN`: runward itself", "one transaction"),
        ("select 1; ROLLBACK", "`ROLLBACK`: runward itself", "one transaction"),
        ("prepare transaction 'x'", "runward itself", "one transaction"),
        ("attach database '/x' as y", "the database of its connection alone", "a connection"),
        ("copy t from stdin", "no input", "psql"),
        ("select 'open", "never closed", "close it"),
        ("select $a$ open $b$", "never closed", "`$a$`"),
        (";;", "no statement", ""),
    ] {
        let (said, helped) = refused(text);
        assert!(said.contains(message), "{text}: {said}");
        assert!(helped.contains(help), "{text}: {helped}");
    }
    let many = "select 1;".repeat(limits::SQL_STATEMENTS_MAX + 1);
    assert!(refused(&many).0.contains("one step has at most"));
    assert!(compiled(&"select 1;".repeat(limits::SQL_STATEMENTS_MAX)).is_ok());
}

#[test]
fn what_is_wrong_is_found_at_its_place() {
    let text = "select 'a', '${{ item }}'";
    let errors = compiled(text).unwrap_err();
    assert_eq!(&text[errors[0].range.clone()], "${{ item }}");
}

proptest! {
    #[test]
    fn no_text_is_lost_or_makes_it_panic(text in "[ab1 ;'\"`$\\-/*()\n.é_E\\\\]{0,40}", tail in "[ab ;'$]{0,10}") {
        let text = format!("{text} ${{{{ item }}}} {tail}");
        if let Ok(template) = compiled(&text) {
            let together: String =
                template.statements.iter().map(|it| it.text(|_| "${{ item }}".to_owned())).collect();
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            // A comment of its own is no statement, and goes.
            if !text.contains("--") && !text.contains("/*") {
                prop_assert_eq!(letters(&together), letters(&text));
            }
        }
    }
}
