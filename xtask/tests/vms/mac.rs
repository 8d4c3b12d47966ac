//! A Mac with Apple Silicon, whose tools are fakes that play it: the type of machine, and Rosetta.

use serde_json::json;

use crate::world::{Plane, World};
use crate::{DELETE, DEV, STOP, image_path};

/// A start of Colima on Apple Silicon, without the image.
fn start(rosetta: &str) -> String {
    format!(
        "colima start --profile k3s-dev --template=false --arch aarch64 --vm-type vz {rosetta}--cpus 4 --memory 8 --disk 60 --root-disk 60 --runtime none --mount none --mount-type virtiofs --binfmt=false --activate=false --ssh-config=false --port-forwarder ssh"
    )
}

pub(crate) fn rosetta_is_tried_and_goes_when_it_is_no_longer_asked_for(plane: &Plane) {
    let mut world = World::mac();
    world.behind("k3s-dev", DEV, plane);
    let image = world.image();
    world.run(&["image", "use", image.as_str()]).ends(0);
    world.platform["profiles"]["k3s-dev"]["rosetta"] = json!(true);

    // A program that does not run is said, whatever was asked for and promised.
    world.fake["faults"] = json!(["rosettaFails"]);
    world
        .up("k3s-dev", "colima", &[])
        .ends(6)
        .says("the kernel in the image is not known")
        .says("rosetta.try` failed");
    world.fake["faults"] = json!([]);
    world.up("k3s-dev", "colima", &[]).ends(0).says("runs: vz on aarch64");
    let create = format!(
        "{} --disk-image {} --force-disk-image",
        start("--vz-rosetta "),
        image_path(&world, "aarch64")
    );
    assert_eq!(world.calls(), [create]);
    assert_eq!(world.instance(DEV).unwrap()["rosetta"], true);

    // Left unsaid, Colima would keep it.
    world.platform["profiles"]["k3s-dev"]["rosetta"] = json!(false);
    let status = world.run(&["local-status"]).ends(10);
    assert!(
        status
            .stdout
            .contains("rosetta: config off, VM on: `local-up` stops and starts the VM"),
        "{}",
        status.stdout
    );
    world.up("k3s-dev", "colima", &[]).ends(0);
    assert_eq!(world.calls(), [STOP, &start("--vz-rosetta=false ")]);
    assert_eq!(world.instance(DEV).unwrap()["rosetta"], false);
    world.run(&["local-down", "--delete", "--yes"]).ends(0);
    assert_eq!(world.calls(), [DELETE]);

    // Lima alone has it in a file of the instance.
    world.behind("k3s-dev", "k3s-dev", plane);
    world.platform["profiles"]["k3s-dev"]["rosetta"] = json!(true);
    world.up("k3s-dev", "lima", &[]).ends(0).says("runs: vz on aarch64");
    assert_eq!(world.instance("k3s-dev").unwrap()["rosetta"], true);
    world.platform["profiles"]["k3s-dev"]["rosetta"] = json!(false);
    world.up("k3s-dev", "lima", &[]).ends(0);
    assert_eq!(world.instance("k3s-dev").unwrap()["rosetta"], false);
}
