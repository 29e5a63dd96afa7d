//! How long a look at a machine takes, its update, and the comparison of two, at 10 to 10,000 paths: of the whole machine,
//! and of one of its targets. The machine is files, in memory: what the kernel takes to make them is not in it.
//! Must not judge: a figure is compared with that of the run before.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use iscsi_initiator_fake::{
    Machine,
    machine::{Size, large_target},
};
use iscsi_initiatord::measure;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    for paths in [10, 100, 1000, 10_000] {
        looks(&mut criterion, paths);
    }
    criterion.final_summary();
}

#[expect(clippy::unwrap_used, reason = "what cannot be must stop the bench")]
fn looks(criterion: &mut Criterion, paths: usize) {
    let fake = Machine::new();
    let size = match paths {
        // Of one target.
        10 => Size { targets: 1, portals: 2, luns: 5, has_maps: true },
        paths => Size::paths(paths),
    };
    fake.fill(size);
    let (sys, target) = (fake.at("sys"), large_target(0));
    let machine = measure::Machine::new(&sys);
    let look = machine.all();
    let id = |what: &str| BenchmarkId::new(what, paths);
    let mut group = criterion.benchmark_group("look");
    group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(look.paths() as u64));
    group.bench_function(id("all, nothing remembered"), |bencher| {
        bencher.iter(|| measure::Machine::new(&sys).all());
    });
    group.bench_function(id("all"), |bencher| bencher.iter(|| machine.all()));
    group.bench_function(id("one target"), |bencher| bencher.iter(|| machine.target(&target).unwrap()));
    group.finish();
    updates(criterion, &fake, look.paths());
    let (same, other) = (look.clone(), look.without_one());
    assert_eq!((look.changes(&same), look.changes(&other)), (0, 1), "one disk less");
    let mut group = criterion.benchmark_group("diff");
    group.bench_function(id("nothing changed"), |bencher| bencher.iter(|| look.changes(&same)));
    group.bench_function(id("one disk less"), |bencher| bencher.iter(|| look.changes(&other)));
    group.finish();
}

/// Of what is kept, by what changes. An event of a disk is about the LUNs of its session, up to eight; one of a map about its
/// two paths, and the states of their sessions.
fn updates(criterion: &mut Criterion, fake: &Machine, paths: usize) {
    let mut kept = measure::Kept::new(&fake.at("sys"));
    let disk = b"change@/devices/platform/host3/session1/target3:0:0/3:0:0:0/block/sda\0";
    let map = b"change@/devices/virtual/block/dm-0\0";
    let mut group = criterion.benchmark_group("update by one event");
    group.sampling_mode(SamplingMode::Flat);
    for (what, event) in [("of a disk", &disk[..]), ("of a map", map)] {
        let id = BenchmarkId::new(what, paths);
        group.bench_function(id, |bencher| bencher.iter(|| kept.after_event(event)));
    }
    group.finish();
    let mut group = criterion.benchmark_group("update without an event");
    group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(paths as u64));
    group.bench_function(BenchmarkId::new("states of all", paths), |bencher| {
        bencher.iter(|| kept.with_states())
    });
    group.finish();
    assert_eq!(kept.with_states().paths(), paths);
    pictures(criterion, fake, paths);
}

/// Of the objects and what is other than before, with the update that they are made of.
fn pictures(criterion: &mut Criterion, fake: &Machine, paths: usize) {
    let mut shown = measure::Shown::new(&fake.at("sys"));
    let map = b"change@/devices/virtual/block/dm-0\0";
    assert_eq!((shown.after_event(map), shown.after_event(map)), (1, 1), "one disk");
    let mut group = criterion.benchmark_group("picture");
    group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(paths as u64));
    group.bench_function(BenchmarkId::new("anew", paths), |bencher| bencher.iter(|| shown.anew()));
    group.bench_function(BenchmarkId::new("after an event of a map", paths), |bencher| {
        bencher.iter(|| shown.after_event(map));
    });
    group.finish();
}
