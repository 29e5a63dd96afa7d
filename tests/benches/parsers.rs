//! How long it takes to parse what other programs and targets write: records, multipathd's reply, lists of targets.
//! Must not judge: a figure is compared with that of the run before.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput};
use iscsi_initiator_fake::machine::{INITIATOR, record_text};
use iscsi_initiator_probe::measure::send_targets;
use iscsi_initiatord::measure;

fn main() {
    let mut criterion = Criterion::default().measurement_time(Duration::from_secs(3)).configure_from_args();
    records(&mut criterion);
    replies(&mut criterion);
    lists(&mut criterion);
    criterion.final_summary();
}

fn records(criterion: &mut Criterion) {
    let text = record_text(INITIATOR, "192.0.2.21", 3260, "node.session.auth.username = libvirtd\n");
    criterion
        .bench_function("record", |bencher| bencher.iter(|| measure::record(black_box(text.as_bytes()))));
}

/// With two paths a map, each in a group of its own.
fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("show maps json");
    for paths in [10, 100, 1000, 10_000] {
        let reply = reply(paths);
        group.throughput(Throughput::Elements(paths));
        group.bench_with_input(BenchmarkId::from_parameter(paths), &reply, |bencher, reply| {
            bencher.iter(|| measure::multipathd(black_box(reply.as_bytes())));
        });
    }
    group.finish();
}

fn reply(paths: u64) -> String {
    let path = |number: u64| {
        format!(
            r#"{{"selector":"queue-length 0","pri":50,"dm_st":"active","marginal_st":"normal","group":{group},"paths":[
            {{"dev":"sd{number}","dev_t":"8:{number}","dm_st":"active","dev_st":"running","chk_st":"ready",
            "checker":"tur","pri":50,"host_wwnn":"[undef]","target_wwnn":"iqn.2003-01.com.example:disks",
            "host_wwpn":"[undef]","target_wwpn":"[undef]","host_adapter":"[undef]","lun_hex":"0x0000000000000000",
            "marginal_st":"normal"}}]}}"#,
            group = number % 2 + 1
        )
    };
    let map = |number: u64| {
        format!(
            r#"{{"name":"mpath{number}","uuid":"36001405{number:025x}","sysfs":"dm-{number}","failback":"immediate",
            "queueing":"off","paths":2,"write_prot":"rw","dm_st":"active","features":"0","hwhandler":"1 alua",
            "action":"","path_faults":0,"vend":"LIO-ORG","prod":"TCMU device","rev":"0002","switch_grp":0,
            "map_loads":1,"total_q_time":0,"q_timeouts":0,"path_groups":[{},{}]}}"#,
            path(2 * number),
            path(2 * number + 1)
        )
    };
    let maps: Vec<String> = (0..paths / 2).map(map).collect();
    format!(r#"{{"major_version":0,"minor_version":1,"maps":[{}]}}"#, maps.join(","))
}

/// With two portals a target.
fn lists(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("SendTargets");
    for targets in [1, 100, 1000, 10_000] {
        let target = |number: u64| {
            format!(
                "TargetName=iqn.2003-01.com.example:disks-{number}\0TargetAddress=192.0.2.21:3260,1\0\
                 TargetAddress=192.0.2.37:3260,2\0"
            )
        };
        let text: String = (0..targets).map(target).collect();
        group.throughput(Throughput::Elements(targets));
        group.bench_with_input(BenchmarkId::from_parameter(targets), &text, |bencher, text| {
            bencher.iter(|| send_targets(black_box(text.as_bytes())));
        });
    }
    group.finish();
}
