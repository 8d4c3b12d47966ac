//! The engine as a whole, on small renderings.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

use super::bless::{Blessed, bless};
use super::fixture::{Fixture, digested, small_platform};
use super::normalize::HEADER;
use super::problem::{Disguise, Fix, Problem, StalePart};
use super::resolve::compare;
use crate::base::failure::{Failure, Kind, Result};

fn problems(fixture: &Fixture) -> Vec<Problem> {
    compare(&fixture.rendering(), &fixture.golden(), &fixture.record())
        .unwrap()
        .problems
}

fn names(fixture: &Fixture) -> Vec<&'static str> {
    problems(fixture).iter().map(Problem::name).collect()
}

fn try_bless(fixture: &Fixture) -> Result<Blessed> {
    bless(
        &fixture.rendering(),
        &fixture.golden(),
        &fixture.record(),
        &BTreeSet::new(),
        |_| Ok(()),
    )
}

fn blessed() -> Fixture {
    let fixture = Fixture::rendered();
    try_bless(&fixture).unwrap();
    fixture
}

fn golden_text(fixture: &Fixture, path: &str) -> String {
    fs_err::read_to_string(fixture.golden().join(path)).unwrap()
}

fn write_golden(fixture: &Fixture, path: &str, content: impl AsRef<[u8]>) {
    fs_err::write(fixture.golden().join(path), content).unwrap();
}

const SETTINGS: &str = "20-widgets/30-configmap.demo.settings.yaml";
const WIDGET: &str = "30-first/80-widget.demo.first.yaml";

/// Every file below a folder, with its content and mode.
fn snapshot(folder: &Utf8Path) -> Vec<(Utf8PathBuf, u32, Vec<u8>)> {
    super::folder::scan(folder)
        .unwrap()
        .into_iter()
        .map(|file| {
            let path = folder.join(&file.path);
            let mode = fs_err::symlink_metadata(&path).unwrap().permissions().mode();
            let content = fs_err::read(&path).unwrap_or_default();
            (file.path, mode, content)
        })
        .collect()
}

#[test]
fn a_blessed_golden_has_no_problems_and_a_second_bless_changes_nothing() {
    let fixture = Fixture::rendered();
    let first = try_bless(&fixture).unwrap();
    assert_eq!(first.objects, 6);
    let before = snapshot(&fixture.golden());
    assert_eq!(problems(&fixture), []);
    let second = try_bless(&fixture).unwrap();
    assert_eq!(second.fixes, []);
    assert_eq!(snapshot(&fixture.golden()), before);
}

#[test]
fn a_check_never_writes() {
    let fixture = blessed();
    write_golden(&fixture, SETTINGS, "a: b: c");
    write_golden(&fixture, "20-widgets/extra.yaml", "x: 1\n");
    let before = snapshot(&fixture.golden());
    assert_eq!(problems(&fixture).len(), 2);
    assert_eq!(snapshot(&fixture.golden()), before);
}

#[test]
fn native_objects_stand_whole_and_upstream_ones_as_summary() {
    let fixture = blessed();
    let settings = golden_text(&fixture, SETTINGS);
    assert!(settings.starts_with(HEADER), "{settings}");
    assert!(
        settings.contains("enabled: \"no\"") && settings.contains("echo on"),
        "{settings}"
    );
    let workload = golden_text(&fixture, "20-widgets/40-deployment.demo.widgets.yaml");
    assert!(workload.contains("image: registry.example/widgets:1.2.3"), "{workload}");
    assert!(!workload.contains("--verbose"), "{workload}");
    let definition = golden_text(
        &fixture,
        "20-widgets/10-customresourcedefinition._.widgets.demo.example.yaml",
    );
    assert!(
        definition.contains("x-kubernetes-preserve-unknown-fields: true"),
        "{definition}"
    );
    assert!(!definition.contains("at length"), "{definition}");
}

#[test]
fn an_upstream_change_outside_the_summary_still_makes_the_golden_stale() {
    let fixture = blessed();
    let mut objects = small_platform();
    objects[2].2["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["--quiet"]);
    fixture.project(&objects);
    let found = problems(&fixture);
    let [Problem::Stale { parts, .. }] = found.as_slice() else {
        panic!("{found:?}")
    };
    let [StalePart::Changed(object, changes)] = parts.as_slice() else {
        panic!("{parts:?}")
    };
    assert_eq!(object.to_string(), "Deployment/demo/widgets");
    assert_eq!(changes.len(), 1);
    assert!(changes[0].field.contains("vanixiets.dev/digest"), "{}", changes[0]);
}

#[test]
fn a_stale_object_names_its_fields() {
    let fixture = blessed();
    let mut objects = small_platform();
    objects[3].2["data"]["enabled"] = "yes".into();
    objects[3].2["data"]["more"] = "x".into();
    fixture.project(&objects);
    let text = problems(&fixture)[0].to_string();
    assert!(
        text.contains("stale `20-widgets/30-configmap.demo.settings.yaml`: ConfigMap/demo/settings"),
        "{text}"
    );
    assert!(
        text.contains("~ data.enabled: no -> yes") && text.contains("+ data.more: x"),
        "{text}"
    );
    try_bless(&fixture).unwrap();
    assert_eq!(problems(&fixture), []);
}

#[test]
fn what_is_deleted_is_missing_and_what_is_extra_is_an_orphan() {
    let fixture = blessed();
    fs_err::remove_file(fixture.golden().join(SETTINGS)).unwrap();
    write_golden(
        &fixture,
        "20-widgets/90-note.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: note}\n",
    );
    write_golden(&fixture, "README.md", "hand-written\n");
    let mut found = names(&fixture);
    found.sort_unstable();
    assert_eq!(found, ["missing", "orphan", "orphan"]);
    let done = try_bless(&fixture).unwrap();
    assert_eq!(done.fixes.len(), 3);
    assert!(!fixture.golden().join("README.md").exists());
}

#[test]
fn an_object_that_moved_is_one_problem_and_one_fix() {
    let fixture = blessed();
    let mut objects = small_platform();
    objects[4].0 = "40-later";
    let last = objects.remove(4);
    objects.push(last);
    fixture.project(&objects);
    let found = problems(&fixture);
    let moved = found.iter().find(|problem| problem.name() == "misplaced").unwrap();
    assert!(
        matches!(moved.fix(), Some(Fix::Move { to, .. }) if to == "40-later/80-widget.demo.first.yaml"),
        "{moved}"
    );
    assert!(
        !found
            .iter()
            .any(|problem| matches!(problem, Problem::Orphan { .. } | Problem::Missing { .. })),
        "{found:?}"
    );
    try_bless(&fixture).unwrap();
    assert_eq!(problems(&fixture), []);
}

#[test]
fn an_object_in_two_files_of_the_golden_is_a_duplicate_with_a_fix() {
    let fixture = blessed();
    write_golden(&fixture, "10-namespaces/99-again.yaml", golden_text(&fixture, SETTINGS));
    assert_eq!(names(&fixture), ["duplicate"]);
    try_bless(&fixture).unwrap();
    assert_eq!(problems(&fixture), []);
}

#[test]
fn an_object_rendered_twice_is_refused() {
    let fixture = Fixture::rendered();
    fixture.object("30-first", 31, small_platform()[3].2.clone());
    let found = problems(&fixture);
    let duplicate = found.iter().find(|problem| problem.name() == "duplicate").unwrap();
    assert!(
        duplicate.to_string().contains("ConfigMap/demo/settings: rendered to"),
        "{duplicate}"
    );
    assert_eq!(try_bless(&fixture).unwrap_err().kind, Kind::Refused);
    assert!(!fixture.golden().exists());
}

#[test]
fn a_golden_may_be_reordered_and_rewritten_without_being_stale() {
    let fixture = blessed();
    let settings: Value = crate::base::formats::yaml::read_one(&golden_text(&fixture, SETTINGS)).unwrap();
    let mut keys: Vec<_> = settings.as_object().unwrap().clone().into_iter().collect();
    keys.reverse();
    let reversed: serde_json::Map<String, Value> = keys.into_iter().collect();
    write_golden(&fixture, SETTINGS, Value::Object(reversed).to_string());
    assert_eq!(names(&fixture), ["untidy"]);
    assert!(
        !compare(&fixture.rendering(), &fixture.golden(), &fixture.record())
            .unwrap()
            .fails()
    );
    try_bless(&fixture).unwrap();
    assert_eq!(problems(&fixture), []);
}

#[test]
fn documents_of_one_file_may_stand_in_any_order() {
    let fixture = Fixture::rendered();
    let map = |name: &str| {
        digested(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "demo"}}))
    };
    let many = Utf8Path::new("10-namespaces/50-many.yaml");
    fixture.write(
        many,
        &format!("---\n{}\n---\n{}\n---\n---\n# nothing\n", map("a"), map("b")),
    );
    try_bless(&fixture).unwrap();
    write_golden(&fixture, many.as_str(), format!("{}\n---\n{}\n", map("b"), map("a")));
    assert_eq!(names(&fixture), ["untidy"]);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [map("b"), map("a")]});
    write_golden(&fixture, many.as_str(), list.to_string());
    assert_eq!(names(&fixture), ["stale"]);
    let nested = json!({"apiVersion": "v1", "kind": "List", "items": [map("b"), list, null]});
    fixture.write(many, &nested.to_string());
    assert!(
        problems(&fixture)
            .iter()
            .any(|problem| problem.to_string().contains("item 3 of the list is null"))
    );
}

#[test]
fn a_golden_in_disguise_is_named_and_mended() {
    let fixture = blessed();
    let path = fixture.golden().join(SETTINGS);
    let text = golden_text(&fixture, SETTINGS);
    let disguise = |fixture: &Fixture| match problems(fixture).as_slice() {
        [Problem::Disguised { disguise, .. }] => *disguise,
        other => panic!("{other:?}"),
    };
    let mend = |fixture: &Fixture| {
        try_bless(fixture).unwrap();
        assert_eq!(problems(fixture), []);
        assert_eq!(golden_text(fixture, SETTINGS), text);
    };
    fs_err::write(&path, text.replace('\n', "\r\n")).unwrap();
    assert_eq!(disguise(&fixture), Disguise::CarriageReturns);
    mend(&fixture);
    fs_err::write(&path, format!("\u{feff}{text}")).unwrap();
    assert_eq!(disguise(&fixture), Disguise::ByteOrderMark);
    mend(&fixture);
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(disguise(&fixture), Disguise::Executable);
    mend(&fixture);
    let elsewhere = fixture.root().join("elsewhere.yaml");
    fs_err::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert_eq!(disguise(&fixture), Disguise::Symlink);
    mend(&fixture);
    assert_eq!(
        fs_err::read_to_string(&elsewhere).unwrap(),
        text,
        "the link's target is left alone"
    );
}

#[test]
fn an_item_folder_that_is_a_link_is_replaced_and_not_written_through() {
    let fixture = blessed();
    let folder = fixture.golden().join("30-first");
    let elsewhere = fixture.root().join("elsewhere");
    fs_err::rename(&folder, &elsewhere).unwrap();
    fs_err::remove_file(elsewhere.join("80-widget.demo.first.yaml")).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    let mut found = names(&fixture);
    found.sort_unstable();
    assert_eq!(found, ["missing", "missing", "orphan"]);
    try_bless(&fixture).unwrap();
    assert_eq!(problems(&fixture), []);
    assert!(!elsewhere.join("80-widget.demo.first.yaml").exists());
}

#[test]
fn an_unreadable_golden_says_why_and_is_written_anew() {
    let fixture = blessed();
    for (content, reason) in [
        ("a: b: c\n".as_bytes(), "line 1"),
        (b"a: 1\na: 2\n", "line 2: key `a` stands twice"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"x: 1\n", "without `apiVersion`"),
        (b"- 1\n", "without `apiVersion`"),
    ] {
        write_golden(&fixture, SETTINGS, content);
        let found = problems(&fixture);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].name() == "unreadable" && found[0].to_string().contains(reason),
            "{}",
            found[0]
        );
        try_bless(&fixture).unwrap();
    }
}

#[test]
fn a_merge_marker_stops_a_bless() {
    let fixture = blessed();
    for path in [SETTINGS, "source.json", "stage.json"] {
        let text = golden_text(&fixture, path);
        write_golden(
            &fixture,
            path,
            format!("<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n"),
        );
        assert_eq!(names(&fixture), ["merge marker"], "{path}");
        let failure = try_bless(&fixture).unwrap_err();
        assert_eq!(failure.kind, Kind::Refused);
        assert!(failure.chain().contains("line 1"), "{}", failure.chain());
        write_golden(&fixture, path, text);
    }
    assert_eq!(problems(&fixture), []);
}

#[test]
fn a_bless_that_ends_anywhere_leaves_the_old_golden_or_the_new_one() {
    let fixture = blessed();
    write_golden(
        &fixture,
        SETTINGS,
        golden_text(&fixture, SETTINGS).replace("\"no\"", "\"yes\""),
    );
    let edited = golden_text(&fixture, SETTINGS);
    let before = fs_err::metadata(fixture.golden().join(SETTINGS))
        .unwrap()
        .modified()
        .unwrap();
    // The last moment before the exchange: the new one is whole, and the old one is as it was.
    let mut seen = false;
    let failure = bless(
        &fixture.rendering(),
        &fixture.golden(),
        &fixture.record(),
        &BTreeSet::new(),
        |next| {
            assert!(
                crate::golden::resolve::compare(&fixture.rendering(), next, &fixture.record())?
                    .problems
                    .is_empty()
            );
            assert_eq!(golden_text(&fixture, SETTINGS), edited);
            seen = true;
            Err(crate::base::failure::Failure::refused("killed"))
        },
    )
    .unwrap_err();
    assert!(seen, "{}", failure.chain());
    assert_eq!(golden_text(&fixture, SETTINGS), edited);
    assert_eq!(
        fs_err::metadata(fixture.golden().join(SETTINGS))
            .unwrap()
            .modified()
            .unwrap(),
        before
    );
    // Nothing of the one that did not come to be is in the golden or beside it.
    let beside: Vec<_> = fixture
        .golden()
        .parent()
        .unwrap()
        .read_dir_utf8()
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().starts_with('.'))
        .collect();
    assert!(beside.is_empty(), "{beside:?}");
    try_bless(&fixture).unwrap();
    assert!(problems(&fixture).is_empty());
}

#[test]
fn edits_that_git_does_not_know_are_not_buried() {
    let fixture = blessed();
    write_golden(
        &fixture,
        SETTINGS,
        golden_text(&fixture, SETTINGS).replace("\"no\"", "\"yes\""),
    );
    let edited = BTreeSet::from([Utf8PathBuf::from(SETTINGS)]);
    let failure = bless(
        &fixture.rendering(),
        &fixture.golden(),
        &fixture.record(),
        &edited,
        |_| Ok(()),
    )
    .unwrap_err();
    assert_eq!(failure.kind, Kind::Refused);
    assert!(failure.chain().contains(SETTINGS));
    // An edit that the bless would leave alone is in nobody's way.
    let elsewhere = BTreeSet::from([Utf8PathBuf::from(WIDGET)]);
    assert!(
        bless(
            &fixture.rendering(),
            &fixture.golden(),
            &fixture.record(),
            &elsewhere,
            |_| Ok(())
        )
        .is_ok()
    );
}

#[test]
fn a_secret_in_a_rendering_is_never_blessed() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "demo"}, "data": {"a": "c2VjcmV0"}});
    let fixture = Fixture::rendered();
    fixture.object("20-widgets", 20, secret);
    let failure: Failure = try_bless(&fixture).unwrap_err();
    assert_eq!(failure.kind, Kind::Refused);
    assert!(
        failure.chain().contains("plaintext secret in the rendering"),
        "{}",
        failure.chain()
    );
    assert!(!failure.chain().contains("c2VjcmV0"));
    assert!(!fixture.golden().exists());
}

#[test]
fn a_secret_in_a_golden_is_found_and_removed_by_a_bless() {
    let fixture = blessed();
    let path = "30-first/80-sopssecret.demo.token.yaml";
    write_golden(
        &fixture,
        path,
        golden_text(&fixture, path).replace("token: ENC[AES256_GCM,data:AAAA,type:str]", "token: open"),
    );
    write_golden(
        &fixture,
        path,
        golden_text(&fixture, path).replace("token: \"ENC[AES256_GCM,data:AAAA,type:str]\"", "token: open"),
    );
    let mut found = names(&fixture);
    found.sort_unstable();
    assert_eq!(found, ["plaintext secret", "stale"]);
    try_bless(&fixture).unwrap();
    assert_eq!(problems(&fixture), []);
}

#[test]
fn a_secret_that_nothing_renders_is_named_as_one_and_removed() {
    let fixture = blessed();
    let open =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: demo}\ndata: {a: Yg==}\nstringData: {b: c}\n";
    write_golden(&fixture, "20-widgets/left.yaml", open);
    let mut found = names(&fixture);
    found.sort_unstable();
    assert_eq!(found, ["orphan", "plaintext secret", "plaintext secret"]);
    try_bless(&fixture).unwrap();
    assert_eq!(problems(&fixture), []);
}

#[test]
fn a_sops_secret_outside_a_list_is_refused() {
    let fixture = Fixture::rendered();
    let path = Utf8Path::new("30-first/80-sopssecret.demo.token.yaml");
    let list: Value =
        crate::base::formats::json::read(&fs_err::read_to_string(fixture.rendering().join(path)).unwrap()).unwrap();
    fixture.write(path, &list["items"][0].to_string());
    let failure = try_bless(&fixture).unwrap_err();
    assert!(
        failure.chain().contains("outside a `kind: List`"),
        "{}",
        failure.chain()
    );
}

#[test]
fn a_custom_resource_that_its_definition_refuses_is_not_blessed() {
    let fixture = Fixture::rendered();
    let mut objects = small_platform();
    objects[4].2["spec"] = json!({"size": 0, "colour": "red"});
    fixture.project(&objects);
    let failure = try_bless(&fixture).unwrap_err();
    assert_eq!(failure.kind, Kind::Refused);
    let chain = failure.chain();
    assert!(
        chain.contains("spec.size: 0 is below the minimum 1") && chain.contains("spec.colour: unknown field"),
        "{chain}"
    );
}

#[test]
fn a_rendered_object_must_carry_its_own_digest() {
    let fixture = Fixture::rendered();
    let path = fixture.rendering().join(SETTINGS);
    let text = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, text.replace("0644", "0600")).unwrap();
    assert!(try_bless(&fixture).unwrap_err().chain().contains("is not its digest"));
    let bare = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "demo"}});
    fs_err::write(&path, bare.to_string()).unwrap();
    assert!(try_bless(&fixture).unwrap_err().chain().contains("has no annotation"));
}

#[test]
fn an_object_beyond_the_servers_limits_is_refused() {
    let fixture = Fixture::rendered();
    let map = |name: &str, data: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "demo"}, "data": {"a": data}});
    fixture.object("20-widgets", 30, map("large", &"x".repeat(1_572_864)));
    fixture.object("20-widgets", 30, map(&"n".repeat(254), ""));
    let chain = try_bless(&fixture).unwrap_err().chain();
    assert!(
        chain.contains("stores at most 1572864") && chain.contains("254 characters"),
        "{chain}"
    );
    let fixture = Fixture::rendered();
    fixture.object("20-widgets", 30, map("large", &"x".repeat(1_500_000)));
    fixture.object("20-widgets", 30, map(&"n".repeat(253), ""));
    try_bless(&fixture).unwrap();
}

#[test]
fn a_changed_module_makes_every_golden_older() {
    let fixture = blessed();
    fs_err::write(fixture.root().join("modules/a.nix"), "{ changed = true; }\n").unwrap();
    assert_eq!(names(&fixture), ["older"]);
    try_bless(&fixture).unwrap();
    assert_eq!(problems(&fixture), []);
    fs_err::write(fixture.root().join("flake.lock"), "{ }\n").unwrap();
    assert_eq!(names(&fixture), ["older"]);
    fs_err::remove_file(fixture.golden().join("source.json")).unwrap();
    assert!(problems(&fixture)[0].to_string().contains("without `source.json`"));
    write_golden(&fixture, "source.json", "{\"schema\": 2}");
    assert_eq!(names(&fixture), ["unreadable"]);
    try_bless(&fixture).unwrap();
}

#[test]
fn a_new_component_and_a_new_secret_make_a_golden_older_whatever_they_are_called() {
    for (file, counts) in [
        ("modules/k8s/apps/default.nix", true),
        ("modules/k8s/machines/default.nix", true),
        ("k8s/secrets/local/new.enc.yaml", true),
        ("modules/k8s/apps/tests.nix", false),
        ("modules/apps/default.nix", false),
        ("modules/tests/default.nix", false),
    ] {
        let fixture = blessed();
        let path = fixture.root().join(file);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, "{ }\n").unwrap();
        assert_eq!(names(&fixture) == ["older"], counts, "{file}");
    }
}

#[test]
fn a_rendering_without_all_sources_leaves_charts_unverified() {
    let fixture = blessed();
    let upstream = "20-widgets/40-deployment.demo.widgets.yaml";
    fs_err::remove_file(fixture.rendering().join(upstream)).unwrap();
    assert_eq!(names(&fixture), ["orphan"]);
    fixture.write(
        Utf8Path::new("skipped.json"),
        r#"["chart `widgets` of component `widgets`"]"#,
    );
    let comparison = compare(&fixture.rendering(), &fixture.golden(), &fixture.record()).unwrap();
    assert_eq!(comparison.problems, []);
    assert_eq!(comparison.unverified.len(), 1);
    assert_eq!(try_bless(&fixture).unwrap_err().kind, Kind::Refused);
    fs_err::remove_file(fixture.rendering().join(SETTINGS)).unwrap();
    assert_eq!(names(&fixture), ["orphan"], "native objects are never left out");
}

#[test]
fn folders_and_items_belong_together() {
    let fixture = Fixture::rendered();
    fixture.object(
        "99-lost",
        30,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "lost", "namespace": "demo"}}),
    );
    fs_err::remove_dir_all(fixture.rendering().join("10-namespaces")).unwrap();
    let chain = try_bless(&fixture).unwrap_err().chain();
    assert!(
        chain.contains("no item has the folder `99-lost`") && chain.contains("the item `10-namespaces` has no folder"),
        "{chain}"
    );
}

#[test]
fn an_empty_rendering_is_an_error_and_not_an_empty_golden() {
    let fixture = blessed();
    fs_err::remove_dir_all(fixture.rendering()).unwrap();
    let failure = try_bless(&fixture).unwrap_err();
    assert_eq!(failure.kind, Kind::Config);
    assert!(fixture.golden().join(SETTINGS).exists());
}

mod alone {
    use super::*;
    use crate::golden::offline::judge;

    fn names(fixture: &Fixture) -> Vec<&'static str> {
        let comparison = judge(&fixture.golden(), &fixture.record()).unwrap();
        comparison.problems.iter().map(Problem::name).collect()
    }

    #[test]
    fn a_golden_in_order_has_no_problems_without_a_rendering() {
        let fixture = blessed();
        fs_err::remove_dir_all(fixture.rendering()).unwrap();
        let comparison = judge(&fixture.golden(), &fixture.record()).unwrap();
        assert_eq!(comparison.problems, []);
        assert_eq!(comparison.objects.len(), 6);
    }

    #[test]
    fn an_edited_native_object_is_found_by_its_own_digest() {
        let fixture = blessed();
        write_golden(
            &fixture,
            SETTINGS,
            golden_text(&fixture, SETTINGS).replace("\"no\"", "\"yes\""),
        );
        assert_eq!(names(&fixture), ["invalid"]);
    }

    #[test]
    fn what_kluctl_would_run_fetch_or_move_is_found_without_a_rendering() {
        for (file, from, to) in [
            (
                "deployment.yaml",
                "deployments:",
                "vars:\n- http: {url: \"http://127.0.0.1\"}\ndeployments:",
            ),
            (
                "deployment.yaml",
                "deployments:",
                "overrideNamespace: kube-system\ndeployments:",
            ),
            (
                "deployment.yaml",
                "deployments:",
                "deployments:\n- barrier: true\n  message: \"{{ 1 }}\"",
            ),
            (".kluctl.yaml", "discriminator:", "args: []\ndiscriminator:"),
            (".templateignore", "*", ""),
            (
                "stage.json",
                "\"directory\": \"10-namespaces\"",
                "\"directory\": \"../outside\"",
            ),
        ] {
            let fixture = blessed();
            let text = golden_text(&fixture, file);
            assert!(text.contains(from), "{text}");
            write_golden(&fixture, file, text.replacen(from, to, 1));
            assert_eq!(names(&fixture), ["invalid"], "{file}: {to}");
        }
        let fixture = blessed();
        write_golden(&fixture, "10-namespaces/kustomization.yaml", "");
        assert_eq!(names(&fixture), ["invalid"]);
    }

    #[test]
    fn everything_that_can_be_seen_without_a_rendering_is_told_at_once() {
        let fixture = blessed();
        write_golden(&fixture, "10-namespaces/99-again.yaml", golden_text(&fixture, SETTINGS));
        write_golden(&fixture, WIDGET, "a: 1\na: 2\n");
        let namespace = "10-namespaces/05-namespace._.demo.yaml";
        write_golden(
            &fixture,
            namespace,
            golden_text(&fixture, namespace).replace('\n', "\r\n"),
        );
        fs_err::write(fixture.root().join("flake.lock"), "changed").unwrap();
        let mut found = names(&fixture);
        found.sort_unstable();
        assert_eq!(found, ["disguised", "duplicate", "older", "unreadable"]);
        fs_err::remove_dir_all(fixture.golden()).unwrap();
        assert_eq!(names(&fixture), ["missing"]);
    }
}

mod twice {
    use super::*;
    use crate::golden::reproducible::compare;

    #[test]
    fn a_second_rendering_that_differs_names_object_and_field() {
        let (one, other) = (Fixture::rendered(), Fixture::new());
        let mut objects = small_platform();
        other.project(&objects);
        assert_eq!(compare(&one.rendering(), &other.rendering()).unwrap(), []);
        objects[3].2["data"]["password"] = "random".into();
        other.project(&objects);
        let found = compare(&one.rendering(), &other.rendering()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].fix(), None, "what differs each time can never be a golden");
        let text = found[0].to_string();
        assert!(
            text.contains("ConfigMap/demo/settings") && text.contains("+ data.password: random"),
            "{text}"
        );
        assert!(!text.contains("digest"), "{text}");
    }

    #[test]
    fn other_bytes_and_other_files_are_differences_too() {
        let (one, other) = (Fixture::rendered(), Fixture::rendered());
        let text = fs_err::read_to_string(other.rendering().join(SETTINGS)).unwrap();
        other.write(Utf8Path::new(SETTINGS), &format!("{text}\n"));
        fs_err::remove_file(other.rendering().join(WIDGET)).unwrap();
        assert_eq!(compare(&one.rendering(), &other.rendering()).unwrap().len(), 2);
    }
}

mod pairs {
    use std::collections::BTreeMap;

    use super::*;
    use crate::golden::pairs::{Named, Pair, find_shared, renderings};
    use crate::platform::Stage;

    fn pair(cluster: &str, stage: Stage) -> Pair {
        Pair {
            cluster: cluster.into(),
            stage,
        }
    }

    #[test]
    fn renderings_are_found_in_a_project_and_in_a_folder_of_projects() {
        let fixture = Fixture::rendered();
        let known = [pair("k3s-dev", Stage::Local), pair("k3s-capi", Stage::Local)];
        let found = renderings(&fixture.rendering(), &known, Named::No).unwrap();
        assert_eq!(found, BTreeMap::from([(known[0].clone(), fixture.rendering())]));
        let above = fixture.rendering().parent().unwrap().to_owned();
        assert_eq!(renderings(&above, &known, Named::No).unwrap(), found);
        let missing = renderings(&above, &known, Named::Yes).unwrap_err();
        assert!(missing.chain().contains("k3s-capi-local"), "{}", missing.chain());
        let other = renderings(&fixture.rendering(), &known[1..], Named::Yes).unwrap_err();
        assert!(other.chain().contains("not asked for"), "{}", other.chain());
        let misnamed = above.join("k3s-capi-local");
        fs_err::rename(fixture.rendering(), &misnamed).unwrap();
        let wrong = renderings(&above, &known, Named::No).unwrap_err();
        assert!(
            wrong.chain().contains("says that it is `k3s-dev-local`"),
            "{}",
            wrong.chain()
        );
    }

    #[test]
    fn an_object_in_two_stages_of_one_cluster_is_told_in_both() {
        let fixture = blessed();
        let comparison = || compare(&fixture.rendering(), &fixture.golden(), &fixture.record()).unwrap();
        let (local, full) = (pair("a", Stage::Local), pair("a", Stage::Full));
        let mut all = BTreeMap::from([
            (local.clone(), comparison()),
            (full, comparison()),
            (pair("b", Stage::Local), comparison()),
        ]);
        find_shared(&mut all);
        assert_eq!(all[&local].problems.len(), 6);
        assert!(all[&local].problems[0].to_string().contains("also in `a-full`"));
        assert_eq!(all[&pair("b", Stage::Local)].problems, []);
    }
}
