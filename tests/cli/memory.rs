//! Little memory: whatever a limit lets `tok` do, it ends with a plain error, nothing on stdout, and no session lost.

use crate::support::apiax::Apiax;
use std::collections::BTreeMap;

#[test]
fn with_little_memory_a_refresh_fails_plainly_and_loses_no_session() {
    let apiax = Apiax::start();
    let sandbox = apiax.logged_in();
    let refresh = |kib: u64| {
        let tok = sandbox.tok(["get", "apiax", "--fresh"]).after(&format!("ulimit -v {kib} && exec \"$0\" \"$@\""));
        tok.run()
    };
    // The least that is enough, to 64 KiB.
    let (mut low, mut high) = (1u64 << 10, 4u64 << 20);
    while high - low > 64 {
        let middle = low.midpoint(high);
        if refresh(middle).code == 0 { high = middle } else { low = middle }
    }
    // From there down, past the reserve, the threads and the program's own start.
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for kib in (0..60u64).map(|step| high.saturating_sub(step * 307)) {
        let out = refresh(kib);
        // The system itself cannot load the program with so little: none of ours has run.
        if out.code == 127 || out.code > 128 && out.stderr.is_empty() {
            break;
        }
        if out.code != 0 {
            assert!((1..=8).contains(&out.code), "{kib}: {out}");
            assert_eq!(out.stdout, "", "{kib}: {out}");
        }
        *ends.entry(out.stderr.lines().next().unwrap_or_default().to_string()).or_default() += 1;
        // Whatever was sent, its successor is in the store or in the journal.
        sandbox.run("get apiax --fresh").line();
        assert_eq!(apiax.state(|s| s.reused), 0, "{kib}: {out}");
    }
    assert!(ends.contains_key("tok: not enough memory"), "no limit met an allocation: {ends:#?}");
    println!("{ends:#?}");
}
