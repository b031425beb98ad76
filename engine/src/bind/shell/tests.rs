//! What the rewriter accepts and refuses, place by place.

use super::*;

fn compile(source: &str) -> Result<ShellScript, Vec<ExpressionError>> {
    ShellScript::compile(&Template::parse(source).unwrap(), &|expression| expression.source == "params.n")
}

fn text(source: &str) -> String {
    compile(source).unwrap().text
}

fn refused(source: &str) -> Vec<ExpressionError> {
    compile(source).map(|script| script.text).expect_err(source)
}

#[test]
fn a_value_becomes_the_reference_that_is_right_where_it_stands() {
    let v = "${{ params.v }}";
    for (source, wanted) in [
        ("echo V", "echo \"${RUNWARD_V0}\""),
        ("echo \"a V\"", "echo \"a ${RUNWARD_V0}\""),
        ("echo 'a V'", "echo 'a '\"${RUNWARD_V0}\"''"),
        ("cat <<E\nV\nE\n", "cat <<E\n${RUNWARD_V0}\nE\n"),
        ("x=$(echo V)", "x=$(echo \"${RUNWARD_V0}\")"),
        ("x=\"$(echo V \"V\")\"", "x=\"$(echo \"${RUNWARD_V0}\" \"${RUNWARD_V1}\")\""),
        ("echo # V", "echo # ${RUNWARD_V0}"),
        ("./上.sh V # 日本", "./上.sh \"${RUNWARD_V0}\" # 日本"),
    ] {
        assert_eq!(text(&source.replace('V', v).replace("RUNWARD_${{ params.v }}", "RUNWARD_V")), wanted, "{source}");
    }
}

#[test]
fn a_script_without_values_is_never_touched_or_refused() {
    for source in ["eval \"$x\"", "echo 'unclosed", "))) ;; <<", "cat <<'E'\n$x\nE", "", "\u{feff}é\r\n"] {
        assert_eq!(text(source), source);
    }
}

#[test]
fn each_dangerous_place_is_refused_with_the_fix_and_accepted_for_an_int() {
    // Refused for any text; for an int or enum the place gets the reference that follows.
    for (source, wanted) in [
        ("echo $((V + 1))", "echo $((${RUNWARD_V0} + 1))"),
        ("((x = V)) || :", "((x = ${RUNWARD_V0})) || :"),
        ("let x=V", "let x=\"${RUNWARD_V0}\""),
        ("a[V]=1", "a[${RUNWARD_V0}]=1"),
        ("echo ${x:V}", "echo ${x:${RUNWARD_V0}}"),
        ("echo \"${x:-V}\"", "echo \"${x:-${RUNWARD_V0}}\""),
        ("echo `echo V`", "echo `echo \"${RUNWARD_V0}\"`"),
        ("echo $'a V'", "echo $'a '\"${RUNWARD_V0}\"$''"),
        ("echo $\"a V\"", "echo $\"a ${RUNWARD_V0}\""),
        ("V", "\"${RUNWARD_V0}\""),
        ("x=1 V", "x=1 \"${RUNWARD_V0}\""),
        ("exec V", "exec \"${RUNWARD_V0}\""),
        ("$x V", "$x \"${RUNWARD_V0}\""),
        ("eval V", "eval \"${RUNWARD_V0}\""),
        ("trap 'exit V' INT", "trap 'exit '\"${RUNWARD_V0}\"'' INT"),
        (". ./V", ". ./\"${RUNWARD_V0}\""),
        ("source ./V", "source ./\"${RUNWARD_V0}\""),
        ("declare x=V", "declare x=\"${RUNWARD_V0}\""),
        ("typeset x=V", "typeset x=\"${RUNWARD_V0}\""),
        ("local x=V", "local x=\"${RUNWARD_V0}\""),
        ("read -t V x", "read -t \"${RUNWARD_V0}\" x"),
        ("printf -v V x", "printf -v \"${RUNWARD_V0}\" x"),
        ("test -v V", "test -v \"${RUNWARD_V0}\""),
        ("[ -v V ]", "[ -v \"${RUNWARD_V0}\" ]"),
        ("[[ -v V ]]", "[[ -v \"${RUNWARD_V0}\" ]]"),
        ("[[ 1 -eq V ]]", "[[ 1 -eq \"${RUNWARD_V0}\" ]]"),
        ("[[ V -lt 1 ]]", "[[ \"${RUNWARD_V0}\" -lt 1 ]]"),
        ("wait V", "wait \"${RUNWARD_V0}\""),
        ("unset V", "unset \"${RUNWARD_V0}\""),
        ("getopts V x", "getopts \"${RUNWARD_V0}\" x"),
        ("mapfile -n V a", "mapfile -n \"${RUNWARD_V0}\" a"),
        ("declare -i a; a=V", "declare -i a; a=\"${RUNWARD_V0}\""),
        ("SECONDS=V", "SECONDS=\"${RUNWARD_V0}\""),
        ("sh -c 'echo V'", "sh -c 'echo '\"${RUNWARD_V0}\"''"),
        ("bash <<E\necho V\nE", "bash <<E\necho ${RUNWARD_V0}\nE"),
        ("echo V | sh", "echo \"${RUNWARD_V0}\" | sh"),
        ("ssh h sleep V", "ssh h sleep \"${RUNWARD_V0}\""),
        ("su -c \"sleep V\"", "su -c \"sleep ${RUNWARD_V0}\""),
        ("awk \"NR==V\"", "awk \"NR==${RUNWARD_V0}\""),
        ("awk -v x=V 'NR==x'", "awk -v x=\"${RUNWARD_V0}\" 'NR==x'"),
        ("sed -n \"Vp\"", "sed -n \"${RUNWARD_V0}p\""),
        ("perl -e 'print V'", "perl -e 'print '\"${RUNWARD_V0}\"''"),
        ("python3 -c 'print(V)'", "python3 -c 'print('\"${RUNWARD_V0}\"')'"),
        ("psql -c \"select V\"", "psql -c \"select ${RUNWARD_V0}\""),
        ("psql <<E\nselect V;\nE", "psql <<E\nselect ${RUNWARD_V0};\nE"),
        ("mysql -e \"select V\"", "mysql -e \"select ${RUNWARD_V0}\""),
        ("jq \".[V]\"", "jq \".[${RUNWARD_V0}]\""),
        ("xargs sh -c 'echo V'", "xargs sh -c 'echo '\"${RUNWARD_V0}\"''"),
        ("find . -exec sh -c 'echo V' \\;", "find . -exec sh -c 'echo '\"${RUNWARD_V0}\"'' \\;"),
        ("docker exec c sh -c 'echo V'", "docker exec c sh -c 'echo '\"${RUNWARD_V0}\"''"),
        ("kubectl exec p -- sh -c 'echo V'", "kubectl exec p -- sh -c 'echo '\"${RUNWARD_V0}\"''"),
        ("sudo sh -c 'echo V'", "sudo sh -c 'echo '\"${RUNWARD_V0}\"''"),
    ] {
        let errors = refused(&source.replace('V', "${{ params.v }}"));
        assert_eq!(errors.len(), 1, "{source}: {errors:?}");
        let help = errors[0].help.clone().unwrap_or_default();
        assert!(
            help.contains("env: {V: \"${{ params.v }}\"}")
                || help.contains("x=${{ params.v }}")
                || help.contains("(`V="),
            "{source}: {help}"
        );
        let at = source.find('V').unwrap();
        assert_eq!(errors[0].range, at..at + "${{ params.v }}".len(), "{source}");
        let bound = text(&source.replace('V', "${{ params.n }}"));
        assert_eq!(bound, wanted, "{source}");
    }
}

#[test]
fn no_advice_relies_on_a_variable_that_does_not_arrive() {
    for (source, fix) in [
        ("ssh h \"rm -rf /srv/V\"", "printf '%s' \"$V\" | ssh ... 'V=$(cat); ...'"),
        ("ssh h sh <<E\nrm -rf /srv/V\nE", "| ssh ... 'V=$(cat)"),
        ("su app -c \"rm -rf /srv/V\"", "| su ... 'V=$(cat)"),
        ("docker exec c sh -c \"rm -rf /srv/V\"", "sh -c '... \"$1\" ...' sh \"$V\""),
        ("sudo bash -c \"rm -rf /srv/V\"", "bash -c '... \"$1\" ...' bash \"$V\""),
        ("sudo bash <<E\nrm -rf /srv/V\nE", "bash -s -- \"$V\" <<'END'"),
        ("docker exec c psql -c \"select V\"", "not through `sudo`, `ssh` or a container"),
    ] {
        let errors = refused(&source.replace('V', "${{ params.v }}"));
        let help = errors[0].help.clone().unwrap_or_default();
        assert!(help.contains(fix), "{source}: {help}");
    }
}

#[test]
fn a_descriptor_operator_takes_no_text_and_says_which_operator_does() {
    for (source, fix, wanted) in [
        ("echo hi >& V", "> V 2>&1", "echo hi >& \"${RUNWARD_V0}\""),
        ("echo hi 2>&V", "> V 2>&1", "echo hi 2>&\"${RUNWARD_V0}\""),
        ("{ cat; } 3<& \"V\"", "< V", "{ cat; } 3<& \"${RUNWARD_V0}\""),
        ("echo hi &> V", "> V 2>&1", "echo hi &> \"${RUNWARD_V0}\""),
        ("echo hi &>> V", ">> V 2>&1", "echo hi &>> \"${RUNWARD_V0}\""),
        ("exec {fd}>& V", "> V 2>&1", "exec {fd}>& \"${RUNWARD_V0}\""),
    ] {
        let errors = refused(&source.replace('V', "${{ params.v }}"));
        let fix = format!("write `{}`", fix.replace('V', "${{ params.v }}"));
        assert_eq!(errors[0].help.as_deref(), Some(fix.as_str()), "{source}");
        assert_eq!(text(&source.replace('V', "${{ params.n }}")), wanted, "{source}");
    }
}

#[test]
fn where_nothing_can_be_right_an_int_is_refused_too() {
    for (source, fix) in [
        ("cat <<'E'\nV\nE", "<<EOF"),
        ("cat <<\\E\nV\nE", "<<EOF"),
        ("cat <<V\nx\nV", "<<EOF"),
        ("echo $V", "\"$N\""),
        ("echo \\V", "\"$N\""),
        ("echo \"$V\"", "\"$N\""),
        ("echo ${V}", "fixed names"),
        ("echo ${!V}", "fixed names"),
        ("echo `echo \"V\"`", "$(...)"),
        ("echo ${x:-'V'}", "\"$N\""),
        ("for V in a; do :; done", "fixed names"),
        ("V() { :; }", "fixed names"),
    ] {
        let errors = refused(&source.replace('V', "${{ params.n }}"));
        assert!(errors[0].help.clone().unwrap_or_default().contains(fix), "{source}: {errors:?}");
    }
}

#[test]
fn what_cannot_be_read_around_a_value_is_refused() {
    for source in [
        "echo V 'x",
        "echo V \"x",
        "echo V $(x",
        "echo V )",
        "if V2; then echo V",
        "echo V ${x",
        "cat <<E\nV",
        "done V",
    ] {
        assert!(!refused(&source.replace('V', "${{ params.n }}")).is_empty(), "{source}");
    }
    let deep = format!("{}echo ${{{{ params.v }}}}{}", "( ".repeat(5000), " )".repeat(5000));
    assert!(refused(&deep)[0].message.contains("nested too deeply"));
}

#[test]
fn data_arguments_of_interpreters_are_accepted() {
    for source in [
        "bash ./x.sh V",
        "sh -eu ./x.sh V",
        "python3 tool.py --name V",
        "python3 -m tool V",
        "\"$DIR/tool\" V",
        "psql -d V -v name=V -f ./x.sql",
        "psql -X -h V -U V db",
        "jq --arg a V . ./x.json",
        "awk '{print}' V",
        "sed -i s/a/b/ -- V",
        "ssh -i V user@V true",
        "ssh -p V -- V uptime",
        "docker exec V pg_dump V",
        "docker run --rm -v V:/x image V",
        "kubectl exec V -- ls V",
        "timeout V pg_dump V",
        "sudo -u V pg_dump V",
        "env A=V pg_dump",
        "find V -name 'x' -exec rm V {} \\;",
        "xargs -n V rm -- V",
        "nohup pg_dump V > V 2>&1 &",
        "ssh h 'cat > /tmp/f' <<E\nV\nE",
        "pg_dump V | gzip > V",
    ] {
        let result = compile(&source.replace('V', "${{ params.v }}"));
        assert!(result.is_ok(), "{source}: {result:?}");
    }
}

#[test]
fn remote_shells_and_clients_do_not_get_values_as_code() {
    for source in [
        "ssh h echo V",
        "ssh V true",
        "ssh h <<E\nV\nE",
        "ssh h bash -s <<E\nV\nE",
        "ssh h sudo -i <<E\nV\nE",
        "ssh h 'bash' < <(echo V)",
        "ssh -o V h",
        "docker exec -i c bash <<E\nV\nE",
        "docker exec c V V",
        "kubectl exec p -- V",
        "nsenter -t 1 -m <<E\nV\nE",
        "psql V",
        "psql -o V db",
        "mysql db <<E\nV\nE",
        "sqlite3 f V",
        "sudo -s V",
        "flock /l -c V",
        "watch V",
        "parallel V",
    ] {
        assert!(compile(&source.replace('V', "${{ params.v }}")).is_err(), "{source}");
    }
}

#[test]
fn all_errors_come_at_once_with_their_places() {
    let errors = refused("eval ${{ params.a }}\necho 上 $((${{ params.b }}))\n${{ steps.s.outputs.k }}\n");
    let ranges: Vec<Range<usize>> = errors.iter().map(|error| error.range.clone()).collect();
    assert_eq!(ranges, vec![5..20, 33..48, 51..75]);
    assert!(errors[2].help.clone().unwrap_or_default().contains("S_K"));
}

#[test]
fn hostile_texts_end_in_an_answer() {
    for text in [
        "env ".repeat(100_000),
        "docker env ".repeat(20_000),
        "! ".repeat(100_000),
        "${x:-".repeat(50_000),
        "a[".repeat(50_000),
    ] {
        let _ = compile(&format!("{text} ${{{{ params.v }}}}"));
    }
    let word = "x".repeat(1_000_000);
    assert!(compile(&format!("echo {word}${{{{ params.v }}}} {{{{{{{word}")).is_ok());
}

#[test]
fn a_large_script_is_read_in_linear_time() {
    let script = "if [ -n \"$x\" ]; then echo \"${{ params.v }}\" $(date) {a,b}; fi\n".repeat(3000);
    assert_eq!(compile(&script).unwrap().values.len(), 3000);
}
