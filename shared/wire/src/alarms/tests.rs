use super::*;
use crate::policy_file::tests::assert_snapshot;

#[test]
fn the_committed_templates_are_current() {
    for kind in Kind::ALL {
        assert_snapshot(&format!("../../infra/protect/{}.json", kind.as_str()), &template(kind));
    }
}
