//! Tests of what is compared, refused and asked of VMs. No process and no file.

use serde_json::json;

use super::*;
use crate::plan::{Action, Effect};
use crate::recipe::vm::{ImageStep, Vm};

const GIB_8: u64 = 8 * GIB;

fn mac() -> Host {
    Host {
        system: System::Macos { major: 15, minor: 5 },
        arch: Arch::Aarch64,
        cores: 12,
        memory: 48 * GIB,
        free_disk: 500 * GIB,
        kvm: false,
        qemu: false,
        low_ports: true,
        rosetta: true,
        root: false,
    }
}

fn profile() -> Profile {
    Profile {
        cpus: 4,
        memory: 8,
        disk: 60,
        arch: None,
        rosetta: false,
        api_port: 6443,
    }
}

fn on_mac(driver: Driver) -> VmRequirements {
    wanted(driver, "k3s-dev", &profile(), &mac())
}

fn running() -> Instance {
    Instance {
        name: "colima-k3s-dev".to_owned(),
        status: "Running".to_owned(),
        vm_type: Some("vz".to_owned()),
        arch: Some("aarch64".to_owned()),
        cpus: Some(4),
        memory: Some(GIB_8),
        disk: Some(60 * GIB),
        protected: Some(false),
        folder: None,
        errors: Vec::new(),
    }
}

fn image(digest: &str, kernel: &str) -> Image {
    Image {
        path: "/nix/store/a/nixos.qcow2".into(),
        store_path: Some("/nix/store/a".into()),
        digest: digest.to_owned(),
        size: 1,
        virtual_size: 4 * GIB,
        arch: "aarch64".to_owned(),
        kernel: Some(kernel.to_owned()),
    }
}

fn record(digest: &str) -> Record {
    Record {
        driver: Driver::Colima,
        instance: "colima-k3s-dev".to_owned(),
        state: VmState::Made,
        image: Some(image(digest, "6.12")),
        rosetta: false,
    }
}

#[test]
fn a_vm_as_the_config_ask_differs_in_nothing() {
    let saved = Saved::Profile(json!({
        "cpu": 4, "memory": 8, "disk": 60, "arch": "aarch64", "vmType": "vz", "runtime": "none",
    }));
    let drift = compare(
        &on_mac(Driver::Colima),
        Some(&running()),
        &saved,
        Some(&image("aa", "6.12")),
        Some(&record("aa")),
    );
    assert!(
        drift.fields.is_empty() && drift.running && !drift.restart && !drift.recreate,
        "{drift:?}"
    );
}

#[test]
fn each_field_that_differs_costs_what_it_costs() {
    let cost = |driver: Driver, change: fn(&mut Instance)| {
        let mut instance = running();
        change(&mut instance);
        let drift = compare(
            &on_mac(driver),
            Some(&instance),
            &Saved::None,
            None,
            Some(&record("aa")),
        );
        assert_eq!(drift.fields.len(), 1, "{drift:?}");
        (drift.fields[0].field.clone(), drift.fields[0].then)
    };
    let colima = Driver::Colima;
    assert_eq!(cost(colima, |vm| vm.cpus = Some(2)), ("cpus".into(), Then::Restart));
    assert_eq!(
        cost(colima, |vm| vm.memory = Some(GIB)),
        ("memory".into(), Then::Restart)
    );
    assert_eq!(
        cost(colima, |vm| vm.arch = Some("x86_64".into())),
        ("arch".into(), Then::Recreate)
    );
    assert_eq!(
        cost(colima, |vm| vm.vm_type = Some("qemu".into())),
        ("vmType".into(), Then::Recreate)
    );
    assert_eq!(
        cost(colima, |vm| vm.disk = Some(80 * GIB)),
        ("disk".into(), Then::Recreate)
    );
    assert_eq!(cost(colima, |vm| vm.disk = Some(20 * GIB)), ("disk".into(), Then::Kept));
    assert_eq!(
        cost(Driver::Lima, |vm| vm.disk = Some(20 * GIB)),
        ("disk".into(), Then::Restart)
    );
}

#[test]
fn a_running_profile_whose_file_was_changed_is_told_but_left_alone() {
    let saved = Saved::Profile(json!({"cpu": 9, "memory": 8, "disk": 60, "arch": "aarch64", "runtime": "none"}));
    let drift = compare(
        &on_mac(Driver::Colima),
        Some(&running()),
        &saved,
        None,
        Some(&record("aa")),
    );
    assert_eq!(drift.fields[0].then, Then::Rewritten);
    assert_eq!(drift.fields[0].saved.as_deref(), Some("9"));
    assert!(!drift.restart && !drift.recreate);
}

#[test]
fn another_image_is_a_new_vm_and_a_half_made_one_is_no_loss() {
    let drift = |state: VmState| {
        let mut before = record("bb");
        before.state = state;
        compare(
            &on_mac(Driver::Colima),
            Some(&running()),
            &Saved::None,
            Some(&image("aa", "6.12")),
            Some(&before),
        )
    };
    assert!(drift(VmState::Made).recreate);
    let half = drift(VmState::Making);
    assert!(
        half.half_made && !half.recreate,
        "what never ran is swept without asking"
    );
}

#[test]
fn a_listing_is_a_line_an_instance_and_nothing_else_is_believed() {
    let two = "{\"name\":\"a\",\"status\":\"Stopped\",\"extra\":1}\n{\"name\":\"b\"}\n";
    assert_eq!(instances(two).unwrap().len(), 2);
    assert!(instances("").unwrap().is_empty());
    assert_eq!(instances("[]").unwrap_err().kind, Kind::Step);
    assert!(instance(two, "c").unwrap().is_none());
}

/// Lines of a listing as Lima 2.2 prints them of a VM whose settings it cannot read, and what others may print.
const UNINSPECTED: [&str; 5] = [
    r#"{"name":"colima-k3s-dev","hostname":"lima-colima-k3s-dev","status":"","dir":"/v/colima-k3s-dev","vmType":"","arch":"","errors":["yaml: line 3: mapping values are not allowed"],"protected":false,"limaVersion":""}"#,
    r#"{"name":"colima-k3s-dev","hostname":"","status":"Broken","dir":"/v/colima-k3s-dev","vmType":"","arch":"","errors":[{"Op":"open","Path":"/v/colima-k3s-dev/lima.yaml","Err":2}],"protected":false,"limaVersion":""}"#,
    r#"{"name":"colima-k3s-dev","status":null,"errors":[{}],"cpus":null,"memory":"8GiB","vmType":7}"#,
    r#"{"name":"colima-k3s-dev"}"#,
    r#"{"name":"colima-k3s-dev","status":"Suspended","vmType":"vz","arch":"aarch64","cpus":4,"memory":8589934592,"disk":64424509440}"#,
];

#[test]
fn what_lima_does_not_say_is_unknown_and_decides_nothing() {
    for line in UNINSPECTED {
        let found = instance(line, "colima-k3s-dev").unwrap().unwrap();
        let failure = found.inspected().unwrap_err();
        assert_eq!(failure.kind, Kind::Preflight, "{line}");
        assert!(
            failure.hints.iter().any(|hint| hint.contains("lima.yaml")),
            "{failure:?}"
        );
        for driver in [Driver::Colima, Driver::Lima] {
            let drift = compare(
                &on_mac(driver),
                Some(&found),
                &Saved::None,
                Some(&image("aa", "6.12")),
                Some(&record("aa")),
            );
            assert!(!drift.recreate && !drift.restart && drift.exists, "{line}: {drift:?}");
        }
    }
    let said = |line: &str| {
        instance(line, "colima-k3s-dev")
            .unwrap()
            .unwrap()
            .inspected()
            .unwrap_err()
            .chain()
    };
    assert!(said(UNINSPECTED[0]).contains("mapping values are not allowed"));
    assert!(said(UNINSPECTED[1]).contains("open /v/colima-k3s-dev/lima.yaml No such file or directory"));
    assert!(said(UNINSPECTED[4]).contains("`Suspended`"));
}

#[test]
fn each_field_that_a_listing_leaves_out_is_unknown_and_the_others_are_still_compared() {
    let whole = json!({
        "name": "colima-k3s-dev", "status": "Running", "vmType": "vz", "arch": "aarch64", "cpus": 4,
        "memory": GIB_8, "disk": 60 * GIB, "protected": false,
    });
    let read = |value: &Value| instance(&value.to_string(), "colima-k3s-dev").unwrap().unwrap();
    assert_eq!(read(&whole), running());
    for field in ["vmType", "arch", "cpus", "memory", "disk"] {
        for value in [
            None,
            Some(Value::Null),
            Some(json!([])),
            Some(json!("")),
            Some(json!(0)),
            Some(json!(-1)),
        ] {
            let mut line = whole.clone();
            match value {
                None => {
                    line.as_object_mut().unwrap().remove(field);
                }
                Some(value) => line[field] = value,
            }
            let found = read(&line);
            found.inspected().unwrap();
            let drift = compare(
                &on_mac(Driver::Colima),
                Some(&found),
                &Saved::None,
                None,
                Some(&record("aa")),
            );
            assert_eq!(
                drift
                    .fields
                    .iter()
                    .map(|it| (it.field.as_str(), it.then))
                    .collect::<Vec<_>>(),
                [(field, Then::Unknown)],
                "{line}"
            );
            fits(&on_mac(Driver::Colima), Some(&found)).unwrap();
            // A running VM whose host agent died is listed whole; one with gaps could not be inspected.
            line["status"] = json!("Broken");
            assert!(read(&line).inspected().is_err(), "{line}");
        }
    }
    let mut broken = whole.clone();
    broken["status"] = json!("Broken");
    broken["errors"] = json!(["qemu driver is running but host agent is not"]);
    read(&broken).inspected().unwrap();
    // Written with an exponent, and in other letters.
    let mut odd = whole;
    odd["memory"] = json!(8.589_934_592e9);
    odd["vmType"] = json!("VZ");
    assert_eq!(read(&odd), running());
}

#[test]
fn what_a_new_vm_needs_is_looked_at_before_the_old_one_is_deleted() {
    let found = |replaced: Option<u64>, free: u64| {
        let mut host = mac();
        host.free_disk = free;
        let (wanted, instance) = (on_mac(Driver::Colima), running());
        Preflight {
            host: &host,
            wanted: &wanted,
            home: "/tmp".into(),
            instance: Some(&instance),
            replaced,
            port_free: false,
            image: None,
            no_builder: Some("no image, and no builder".to_owned()),
            lima_wrapper: true,
        }
        .problems()
        .unready
    };
    assert!(found(None, 0).is_empty(), "it is kept");
    assert_eq!(found(Some(GIB), 50 * GIB).len(), 2, "{:?}", found(Some(GIB), 50 * GIB));
    assert_eq!(found(Some(10 * GIB), 50 * GIB), ["no image, and no builder"]);
}

fn k3s() -> Value {
    json!({
        "clusters": [{"name": "default", "cluster": {
            "server": "https://127.0.0.1:6443", "certificate-authority-data": "QQ==",
        }}],
        "users": [{"name": "default", "user": {"client-certificate-data": "Qg==", "client-key-data": "Qw=="}}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
    })
}

#[test]
fn the_kubeconfig_gets_our_names_and_address_and_keeps_its_authority() {
    let own = kubeconfig(&k3s(), "k3s-capi", 6444).unwrap();
    assert_eq!(own["current-context"], "k3s-capi");
    assert_eq!(own["clusters"][0]["cluster"]["server"], "https://127.0.0.1:6444");
    assert_eq!(own["clusters"][0]["cluster"]["certificate-authority-data"], "QQ==");
    assert_eq!(own["users"][0]["name"], "k3s-capi");
    assert_eq!(own["users"][0]["user"]["client-key-data"], "Qw==");
}

#[test]
fn what_listens_on_the_vms_own_loopback_is_never_forwarded() {
    let rules = crate::cluster::vm::lima::overrides(&[6443, 6444]);
    let rules = rules["portForwards"].as_array().unwrap();
    let (last, first) = rules.split_last().unwrap();
    let ports: Vec<u64> = first.iter().map(|rule| rule["guestPort"].as_u64().unwrap()).collect();
    assert_eq!(ports, [6443, 6444, 80, 443]);
    for rule in first {
        assert_eq!(
            (&rule["guestIPMustBeZero"], &rule["hostIP"]),
            (&json!(true), &json!("127.0.0.1")),
            "{rule}"
        );
    }
    assert_eq!(
        (&last["ignore"], &last["guestIPMustBeZero"]),
        (&json!(true), &json!(false))
    );
}

#[test]
fn disks_are_read_alike_here_and_in_the_vm() {
    let fstab = "# made by Nix\n/dev/disk/by-label/nixos / ext4 x 0 1\n\n/dev/disk/by-label/ESP /boot vfat x 0 2\ntmpfs /tmp tmpfs x 0 0\n";
    assert_eq!(disks(fstab), "/dev/disk/by-label/nixos /;/dev/disk/by-label/ESP /boot;");
}

#[test]
fn a_kubeconfig_that_would_not_verify_its_server_is_refused() {
    let broken: [fn(&mut Value); 5] = [
        |value| value["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = json!(true),
        |value| value["clusters"][0]["cluster"]["certificate-authority-data"] = json!(""),
        |value| value["clusters"] = json!([]),
        |value| value["users"][0]["user"] = json!({"exec": {"command": "curl"}}),
        |value| value["contexts"] = Value::Null,
    ];
    for change in broken {
        let mut value = k3s();
        change(&mut value);
        assert_eq!(
            kubeconfig(&value, "k3s-dev", 6443).unwrap_err().kind,
            Kind::Refused,
            "{value}"
        );
    }
}

fn problems(host: &Host, wanted: &VmRequirements, home: &str, image: &Image) -> Problems {
    Preflight {
        host,
        wanted,
        home: home.into(),
        instance: None,
        replaced: None,
        port_free: true,
        image: Some(image),
        no_builder: None,
        lima_wrapper: true,
    }
    .problems()
}

#[test]
fn a_folder_is_refused_at_the_length_at_which_sockets_fail() {
    let fits = |length: usize| {
        let home = format!("/{}", "x".repeat(length - 1));
        let wanted = wanted(Driver::Colima, "k3s-capi", &profile(), &mac());
        problems(&mac(), &wanted, &home, &image("aa", "6.12"))
            .unready
            .iter()
            .all(|problem| !problem.contains("too long"))
    };
    assert!(fits(55), "as measured on macOS");
    assert!(!fits(56));
}

#[test]
fn rosetta_is_refused_with_a_kernel_that_its_macos_does_not_know() {
    let mut config = profile();
    config.rosetta = true;
    let tells = |major: u32, kernel: &str| {
        let mut host = mac();
        host.system = System::Macos { major, minor: 0 };
        let wanted = wanted(Driver::Colima, "k3s-dev", &config, &host);
        problems(&host, &wanted, "/tmp", &image("aa", kernel))
            .unready
            .iter()
            .any(|problem| problem.contains("Rosetta of macOS"))
    };
    assert!(tells(15, "6.12.3"));
    assert!(!tells(15, "6.6.90"));
    assert!(!tells(26, "6.18.1"));
}

#[test]
fn an_image_for_another_vm_or_a_larger_disk_is_refused() {
    let mut large = image("aa", "6.12");
    large.virtual_size = 61 * GIB;
    large.arch = "x86_64".to_owned();
    let found = problems(&mac(), &on_mac(Driver::Colima), "/tmp", &large);
    assert_eq!(found.refused.len(), 2, "{found:?}");
    assert_eq!(found.into_result("k3s-dev").unwrap_err().kind, Kind::Refused);
}

#[test]
fn names_that_mean_something_to_a_tool_are_no_profiles() {
    for name in ["", "default", "colima", "colima-x", "-a", "a-", "A", "a b", "a/b", "ä"] {
        assert!(check_name(name).is_err(), "{name}");
    }
    check_name("k3s-dev").unwrap();
}

#[test]
fn a_vm_that_a_person_protected_is_not_deleted() {
    let mut instance = running();
    assert_eq!(
        deletion(&instance, Protection::Off).unwrap(),
        "`colima-k3s-dev` is running, and its disk of 60.0 GiB holds the cluster"
    );
    assert_eq!(
        deletion(&instance, Protection::On).unwrap_err().kind,
        Kind::Refused,
        "Lima does not look for the file where it cannot inspect the VM"
    );
    instance.protected = Some(true);
    assert_eq!(deletion(&instance, Protection::Off).unwrap_err().kind, Kind::Refused);
}

#[test]
fn a_vm_that_is_emulated_or_stands_still_does_not_fit() {
    let wanted = on_mac(Driver::Colima);
    fits(&wanted, Some(&running())).unwrap();
    let mut other = running();
    other.vm_type = Some("qemu".to_owned());
    assert_eq!(fits(&wanted, Some(&other)).unwrap_err().kind, Kind::Refused);
    other = running();
    other.status = "Stopped".to_owned();
    assert_eq!(fits(&wanted, Some(&other)).unwrap_err().kind, Kind::Step);
    assert_eq!(fits(&wanted, None).unwrap_err().kind, Kind::Step);
}

#[test]
fn plans_about_vms_hold_the_laws() {
    let access = Access::rehearsal("k3s-dev", "aaaa");
    for driver in [Driver::Colima, Driver::Lima] {
        let mut config = profile();
        config.rosetta = true;
        let wanted = wanted(driver, "k3s-dev", &config, &mac());
        let vm = Vm {
            access: &access,
            api_ports: &[6443, 6444],
            wanted: &wanted,
            system: mac().system,
            arch: Arch::Aarch64,
            host_arch: Arch::Aarch64,
            low_ports: true,
            image: ImageStep::Build,
        };
        for steps in [vm.up(), vm.down(), vm.delete(), vm.load("/a.tar".into()), vm.switch()] {
            let steps = steps.steps();
            let mut ids: Vec<&str> = steps.iter().map(|step| step.id.as_str()).collect();
            let count = ids.len();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), count, "an id stands twice");
            for step in steps {
                assert_eq!(step.id.split('.').count(), 2, "{}", step.id);
                if let Action::Wait { deadline, every, .. } = &step.action {
                    assert!(*deadline >= *every && *every >= 1, "{}", step.id);
                }
                if step.effect == Effect::Destroy {
                    assert!(["vm.recreate", "vm.delete"].contains(&step.id.as_str()), "{}", step.id);
                    assert!(
                        step.unless.is_some(),
                        "{} asks even when there is nothing to lose",
                        step.id
                    );
                }
                for command in step.commands() {
                    let text = command.shell();
                    assert!(!text.contains(" ~") && !text.contains("/home/"), "{text}");
                    if command.tool == crate::command::Tool::Limactl {
                        assert!(text.starts_with("LIMA_HOME="), "{text}");
                    }
                    if command.tool == crate::command::Tool::Colima {
                        assert!(
                            text.contains("COLIMA_HOME=") && text.contains("--profile k3s-dev"),
                            "{text}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn without_a_vm_nothing_is_destroyed_or_restarted() {
    let drift = compare(&on_mac(Driver::Colima), None, &Saved::None, None, Some(&record("aa")));
    assert!(
        !drift.recreate && !drift.exists && !drift.restart && !drift.half_made,
        "{drift:?}"
    );
}
