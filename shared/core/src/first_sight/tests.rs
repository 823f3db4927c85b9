#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use super::*;
use crate::example::{alarm, compared, record, second};
use crate::id::GroupRef;
use crate::observed::{AutoRollback, Creator, DeploymentStatus};
use crate::record::RefusedRevision;
use crate::target::LambdaAlias;
use crate::vocabulary::{Cause, Mode, Signal};

const ALL_ON: AutoRollback = AutoRollback { on_failure: true, on_alarm: true, on_request: true };

/// When the deployment was created; it is seen a second later.
fn created() -> Timestamp {
    second(-30)
}

fn now() -> Timestamp {
    second(-29)
}

fn facts() -> DeploymentFacts {
    DeploymentFacts {
        id: DeploymentId::parse("d-ABCDEFGHI").unwrap(),
        group: GroupRef::new("shop", "live").unwrap(),
        platform: Platform::Lambda,
        status: DeploymentStatus::Running,
        creator: Creator::User,
        config: Some("CodeDeployDefault.LambdaCanary10Percent5Minutes".to_owned()),
        app_spec: None,
        created_at: created(),
        completed_at: None,
        end_reason: None,
        rollback_deployment: None,
        rolls_back: None,
        auto_rollback: None,
    }
}

/// A group with one alarm of Snapback's, one of its own and one that the policy names, too.
fn group() -> GroupFacts {
    GroupFacts {
        auto_rollback: ALL_ON,
        alarms: vec![alarm("snapback-verdict-shop-live"), alarm("checkout-slow"), alarm("checkout-5xx")],
        ignores_poll_failure: false,
    }
}

fn target() -> Target {
    record(|_| {}).deployment.identity.target
}

fn sight(policy: PolicyFound) -> FirstSight {
    FirstSight::new(facts(), group(), target(), policy)
}

/// Mode `rollback`, errors compared, alarm `checkout-5xx`.
fn valid() -> PolicyFound {
    PolicyFound::Valid(Box::new(record(|_| {}).policy))
}

fn revision(version: u8) -> RevisionId {
    RevisionId::parse(format!("{version:064x}")).unwrap()
}

fn versions() -> VersionsFound {
    let of = |version| Some(VersionFacts { revision: revision(version), timeout: Some(Duration::from_secs(3)) });
    VersionsFound { baseline: of(1), canary: of(2) }
}

fn reading(name: &str, state: AlarmState, since: Timestamp) -> AlarmReading {
    AlarmReading {
        name: alarm(name),
        state,
        since,
        previous: None,
        reason: String::new(),
        breaching: Vec::new(),
        evaluation: None,
        scope: None,
    }
}

fn all_fine() -> Readings {
    let ok = |name| reading(name, AlarmState::Ok, second(-86_400));
    Readings::All(vec![ok("checkout-5xx"), ok("checkout-slow")], now())
}

fn good(version: u8, at: Timestamp) -> GoodRevision {
    GoodRevision {
        at,
        revision: Some(revision(version)),
        version: version.to_string(),
        is_inherited: false,
        is_doubtful: false,
    }
}

fn refused(version: u8, at: Timestamp) -> RefusedRevision {
    RefusedRevision {
        revision: revision(version),
        version: version.to_string(),
        deployment: DeploymentId::parse("d-AAAAAAAAA").unwrap(),
        cause: Cause::Errors,
        at,
        until: at + Duration::from_secs(86_400),
    }
}

/// A group that has promoted version 1 a day ago.
fn seasoned() -> GroupHistory {
    GroupHistory { good: vec![good(1, second(-86_400))], refused: Vec::new() }
}

fn seen(sight: FirstSight, readings: &Readings, history: &GroupHistory) -> NewRecord {
    sight.record(versions(), readings, history, now())
}

/// The timeline as it begins, `kind: text`.
fn lines(new: &NewRecord) -> Vec<String> {
    let lines = new.writes.iter().filter_map(|write| match write {
        Write::Entry(line) => Some(format!("{}: {}", line.kind.as_str(), line.text)),
        Write::Rollback(_) | Write::Notice(_) | Write::Lease(_) | Write::Good(_) | Write::Refused(_) => None,
    });
    lines.collect()
}

#[test]
fn get_deployment_tells_whether_it_gets_a_record() {
    let original = DeploymentId::parse("d-AAAAAAAAA").unwrap();
    let table: [(&str, DeploymentFacts, Classification); 5] = [
        ("a person's", facts(), Classification::Watched),
        (
            "CodeDeploy's rollback that names its original",
            DeploymentFacts { rolls_back: Some(original.clone()), ..facts() },
            Classification::RollbackOf(Some(original.clone())),
        ),
        (
            "CodeDeploy's rollback that does not",
            DeploymentFacts { creator: Creator::PlatformRollback, ..facts() },
            Classification::RollbackOf(None),
        ),
        (
            "another platform",
            DeploymentFacts { platform: Platform::Ecs, ..facts() },
            Classification::Unsupported(Platform::Ecs),
        ),
        (
            "a rollback on another platform: a rollback is nobody's fault",
            DeploymentFacts { platform: Platform::Server, rolls_back: Some(original.clone()), ..facts() },
            Classification::RollbackOf(Some(original.clone())),
        ),
    ];
    for (name, facts, expected) in table {
        assert_eq!(Classification::of(&facts), expected, "{name}");
    }
}

#[test]
fn an_ordinary_deployment() {
    let plan = TrafficPlan {
        words: "10 %, then all after 5 min".to_owned(),
        lasts: Some(Duration::from_secs(300)),
        step: Some(Duration::from_secs(300)),
    };
    let hooks = HookFunctions { before: Some("CodeDeployHook_snapback-before".to_owned()), after: None };
    let sight = sight(valid()).with_hooks(hooks.clone()).with_plan(Some(plan));
    let new = seen(sight, &all_fine(), &seasoned());
    let deployment = &new.record.deployment;
    assert_eq!((new.record.version, &deployment.phase), (1, &Phase::BeforeTraffic));
    assert_eq!((&deployment.identity.service[..], new.record.policy.mode), ("checkout", Mode::Rollback));
    assert_eq!((deployment.identity.created_at, deployment.identity.registered_at), (created(), now()));
    assert_eq!(
        (deployment.observation.alarms_read_at, deployment.observation.alarms_unreadable_since),
        (Some(now()), None)
    );
    assert_eq!(deployment.identity.shift_plan.lasts, Some(Duration::from_secs(300)));
    assert_eq!(deployment.identity.function_timeout, Some(Duration::from_secs(3)));
    assert_eq!(deployment.identity.revisions.canary, Some(revision(2)));
    assert_eq!(deployment.identity.revisions.baseline, Some(revision(1)));
    assert_eq!((&deployment.identity.hooks, deployment.is_return()), (&hooks, false));
    assert!(new.record.notices.is_empty() && new.record.leases.is_empty() && new.record.rollback.is_none());
    assert_eq!(
        lines(&new),
        [
            "registered: deployment of checkout:live from version 1 to 2 (10 %, then all after 5 min)",
            "alarm: alarm checkout-5xx is OK",
            "alarm: alarm checkout-slow is OK",
        ]
    );
}

#[test]
fn the_policy_that_holds() {
    // (name, what became of the parameter, mode, service, kinds of notices)
    let no_policy: &[NoticeKind] = &[NoticeKind::NoPolicy];
    let table = [
        ("valid", valid(), Mode::Rollback, "checkout", &[][..]),
        ("missing: only watched, and told", PolicyFound::Missing, Mode::Advise, "shop", no_policy),
        ("unreadable: may refuse", PolicyFound::Unreadable, Mode::Rollback, "shop", &[][..]),
    ];
    for (name, policy, mode, service, notices) in table {
        let new = seen(sight(policy), &all_fine(), &seasoned());
        assert_eq!(
            (new.record.policy.mode, new.record.deployment.identity.service.as_str()),
            (mode, service),
            "{name}"
        );
        let kinds: Vec<NoticeKind> = new.record.notices.iter().map(|notice| notice.kind).collect();
        assert_eq!(kinds, notices, "{name}");
        let stored = new.writes.iter().filter(|write| matches!(write, Write::Notice(_))).count();
        assert_eq!(stored, notices.len(), "{name}: what is on the record is stored with it");
    }
}

#[test]
fn a_notice_about_a_missing_policy_says_what_to_type() {
    let new = seen(sight(PolicyFound::Missing), &all_fine(), &seasoned());
    let notice = new.record.notices.first().unwrap();
    assert!(notice.body.contains("snapback policy push --group shop/live FILE"), "{}", notice.body);
}

#[test]
fn the_alarms_that_concern_it() {
    let table = [
        ("the policy's first, the group's others, none of our own", valid(), vec!["checkout-5xx", "checkout-slow"]),
        ("without a policy the group's", PolicyFound::Missing, vec!["checkout-slow", "checkout-5xx"]),
    ];
    for (name, policy, expected) in table {
        let names: Vec<String> = sight(policy).alarm_names().iter().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, expected, "{name}");
    }
    let new = seen(sight(valid()), &all_fine(), &seasoned());
    let from: Vec<_> =
        new.record.deployment.observation.alarms.iter().map(|alarm| (alarm.signal, alarm.source)).collect();
    assert_eq!(from, [(Some(Signal::Errors), AlarmSource::Policy), (None, AlarmSource::Group)]);
}

#[test]
fn an_alarm_that_two_signals_name_is_watched_once() {
    let policy = record(|settings| {
        settings.signals.insert(Signal::Latency, compared(&["checkout-5xx"]));
    })
    .policy;
    let names = sight(PolicyFound::Valid(Box::new(policy))).alarm_names();
    assert_eq!(names, [alarm("checkout-5xx"), alarm("checkout-slow")]);
}

#[test]
fn the_alarm_snapshot() {
    let of = |state, since| reading("checkout-5xx", state, since);
    // (name, readings, last state of `checkout-5xx`, whether it is exempt, its line)
    let table = [
        (
            "fine",
            vec![of(AlarmState::Ok, second(-600))],
            Some((AlarmState::Ok, second(-600))),
            false,
            "alarm checkout-5xx is OK",
        ),
        (
            "red before traffic",
            vec![of(AlarmState::Alarm, second(-600))],
            Some((AlarmState::Alarm, second(-600))),
            true,
            "alarm checkout-5xx was ALARM before the deployment: exempt until it has been OK for 3 minutes",
        ),
        (
            "a clock that is ahead of ours",
            vec![of(AlarmState::Ok, second(5))],
            Some((AlarmState::Ok, now())),
            false,
            "alarm checkout-5xx is OK",
        ),
        (
            "no data is not red",
            vec![of(AlarmState::InsufficientData, second(-600))],
            Some((AlarmState::InsufficientData, second(-600))),
            false,
            "alarm checkout-5xx is INSUFFICIENT_DATA",
        ),
        ("it does not exist", Vec::new(), None, false, "alarm checkout-5xx does not exist"),
    ];
    for (name, readings, last, is_exempt, line) in table {
        let new = seen(sight(valid()), &Readings::All(readings, now()), &seasoned());
        let watched = new.record.deployment.observation.alarms.first().unwrap();
        assert_eq!((watched.last, watched.is_exempt), (last, is_exempt), "{name}");
        assert!(lines(&new).contains(&format!("alarm: {line}")), "{name}: {:?}", lines(&new));
    }
}

#[test]
fn alarms_that_could_not_be_read_are_not_said_to_be_missing() {
    let new = seen(sight(valid()), &Readings::Failed("throttled".to_owned()), &seasoned());
    let deployment = &new.record.deployment;
    assert_eq!(
        (deployment.observation.alarms_read_at, deployment.observation.alarms_unreadable_since),
        (None, Some(now()))
    );
    assert!(deployment.observation.alarms.iter().all(|alarm| alarm.last.is_none() && !alarm.is_exempt));
    let lines = lines(&new);
    assert_eq!(lines.last().unwrap(), "warning: alarm states not readable: throttled");
    assert!(!lines.iter().any(|line| line.starts_with("alarm:")), "{lines:?}");
}

#[test]
fn whether_it_goes_back() {
    let unknown = VersionsFound::default();
    let history = |good| GroupHistory { good, refused: Vec::new() };
    let (one, two) = (good(1, second(-600)), good(2, second(-900)));
    let nameless = GoodRevision { revision: None, ..one.clone() };
    let table = [
        ("from a good version to a new one", versions(), history(vec![one.clone()]), false),
        ("from a version that is not good to a good one", versions(), history(vec![two.clone()]), true),
        ("from a good version to another good one", versions(), history(vec![one.clone(), two.clone()]), false),
        (
            "to one that was let through with a doubt",
            versions(),
            history(vec![GoodRevision { is_doubtful: true, ..two.clone() }]),
            false,
        ),
        (
            "from one that was let through with a doubt to a good one",
            versions(),
            history(vec![GoodRevision { is_doubtful: true, ..one.clone() }, two.clone()]),
            true,
        ),
        (
            "to one that is refused, however good it was",
            versions(),
            GroupHistory { good: vec![two.clone()], refused: vec![refused(2, second(-60))] },
            false,
        ),
        (
            "to one that was refused and is no more",
            versions(),
            GroupHistory {
                good: vec![two.clone()],
                refused: vec![RefusedRevision { until: second(-29), ..refused(2, second(-60)) }],
            },
            true,
        ),
        ("nothing is known of the group", versions(), GroupHistory::default(), false),
        ("versions that could not be read are no return", unknown, history(vec![nameless]), false),
    ];
    for (name, versions, history, expected) in table {
        let new = sight(valid()).record(versions, &all_fine(), &history, now());
        assert_eq!(new.record.deployment.is_return(), expected, "{name}");
        let is_told =
            lines(&new).first().unwrap().ends_with("goes back to a known good version, so it is answered at once");
        assert_eq!(is_told, expected, "{name}");
    }
}

/// A stack takes a promoted sibling back: both versions are good, and the target is the earlier one.
#[test]
fn an_earlier_good_version_is_gone_back_to() {
    let table = [
        ("a later version", ("1", "2"), false),
        ("an earlier version", ("2", "1"), true),
        ("earlier by number, not by text", ("10", "9"), true),
        ("later by number, not by text", ("9", "10"), false),
        ("the version that is live", ("2", "2"), true),
        ("no numbers", ("blue", "amber"), false),
    ];
    for (name, (baseline, canary), expected) in table {
        let Target::LambdaAlias(alias) = target() else { panic!("an alias") };
        let target = Target::LambdaAlias(LambdaAlias { baseline: baseline.into(), canary: canary.into(), ..alias });
        let sight = FirstSight::new(facts(), group(), target, valid());
        let good = GroupHistory { good: vec![good(1, second(-600)), good(2, second(-900))], refused: Vec::new() };
        let new = sight.record(versions(), &all_fine(), &good, now());
        assert_eq!(new.record.deployment.is_return(), expected, "{name}");
    }
}

#[test]
fn where_the_history_of_the_service_begins() {
    let inherited = GoodRevision { is_inherited: true, ..good(1, second(-600)) };
    let history = |good, refused| GroupHistory { good, refused };
    let table = [
        ("no deployment before", GroupHistory::default(), None),
        ("what was live at the first sight is no deployment", history(vec![inherited.clone()], vec![]), None),
        ("the last promotion", history(vec![good(1, second(-600))], vec![]), Some(second(-600))),
        (
            "a rollback is over a minute after its decision",
            history(vec![], vec![refused(2, second(-600))]),
            Some(second(-540)),
        ),
        (
            "the later of the two",
            history(vec![good(1, second(-400))], vec![refused(2, second(-600))]),
            Some(second(-400)),
        ),
        (
            "found late: what ended after its creation is not before it",
            history(vec![good(3, second(-10)), good(1, second(-600))], vec![refused(4, second(-80))]),
            Some(second(-600)),
        ),
    ];
    for (name, history, expected) in table {
        let new = seen(sight(valid()), &all_fine(), &history);
        assert_eq!(new.record.deployment.identity.history_from, expected, "{name}");
    }
}

#[test]
fn what_is_live_at_the_first_sight_of_a_group_is_its_first_good_version() {
    let good = |history: &GroupHistory| {
        let new = seen(sight(valid()), &all_fine(), history);
        let mut good = new.writes.into_iter().filter_map(|write| match write {
            Write::Good(good) => Some(good),
            Write::Entry(_) | Write::Rollback(_) | Write::Notice(_) | Write::Lease(_) | Write::Refused(_) => None,
        });
        (good.next(), good.next())
    };
    let first = GoodRevision {
        at: created(),
        revision: Some(revision(1)),
        version: "1".to_owned(),
        is_inherited: true,
        is_doubtful: false,
    };
    assert_eq!(good(&GroupHistory::default()), (Some(first), None));
    assert_eq!(good(&seasoned()), (None, None));
}

#[test]
fn a_group_that_does_not_roll_back_by_itself_is_warned_of() {
    let off = |change: fn(&mut AutoRollback)| {
        let mut rollback = ALL_ON;
        change(&mut rollback);
        rollback
    };
    let table = [
        (off(|_| {}), vec![]),
        (off(|rollback| rollback.on_failure = false), vec!["DEPLOYMENT_FAILURE"]),
        (off(|rollback| rollback.on_alarm = false), vec!["DEPLOYMENT_STOP_ON_ALARM"]),
        (off(|rollback| rollback.on_request = false), vec!["DEPLOYMENT_STOP_ON_REQUEST"]),
        (
            AutoRollback { on_failure: false, on_alarm: false, on_request: false },
            vec!["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"],
        ),
    ];
    let warned = |deployment: Option<AutoRollback>, of_group: AutoRollback| {
        let facts = DeploymentFacts { auto_rollback: deployment, ..facts() };
        let group = GroupFacts { auto_rollback: of_group, ..group() };
        let new = seen(FirstSight::new(facts, group, target(), valid()), &all_fine(), &seasoned());
        let begins = "warning: the group does not roll back on ";
        let events = lines(&new)
            .into_iter()
            .filter_map(|line| line.strip_prefix(begins).and_then(|rest| rest.split(':').next()).map(str::to_owned));
        events.collect::<Vec<String>>()
    };
    for (of_group, expected) in table {
        assert_eq!(warned(None, of_group), expected, "{of_group:?}");
        assert_eq!(warned(Some(of_group), ALL_ON), expected, "what holds for this deployment outweighs the group");
    }
}

#[test]
fn a_deployment_that_is_found_late_begins_before_traffic_all_the_same() {
    // The next reconciliation moves it on by what CodeDeploy shows; nothing here is guessed from the time that went by.
    let late = second(3_600);
    let new = sight(valid()).record(versions(), &all_fine(), &seasoned(), late);
    let deployment = &new.record.deployment;
    assert_eq!((&deployment.phase, deployment.observation.shift_started_at), (&Phase::BeforeTraffic, None));
    assert_eq!((deployment.identity.created_at, deployment.identity.registered_at), (created(), late));
    let mut times = new.writes.iter().filter_map(|write| match write {
        Write::Entry(line) => Some((line.kind, line.at)),
        Write::Rollback(_) | Write::Notice(_) | Write::Lease(_) | Write::Good(_) | Write::Refused(_) => None,
    });
    assert_eq!(times.next(), Some((EntryKind::Registered, created())));
}

#[test]
fn what_could_not_be_read_of_the_versions_is_left_open() {
    let new = sight(valid()).record(VersionsFound::default(), &all_fine(), &GroupHistory::default(), now());
    let deployment = &new.record.deployment;
    assert_eq!((&deployment.identity.revisions.canary, &deployment.identity.revisions.baseline), (&None, &None));
    assert_eq!(
        (
            deployment.identity.function_timeout,
            deployment.identity.shift_plan.lasts,
            deployment.identity.shift_plan.step
        ),
        (None, None, None)
    );
    assert_eq!(lines(&new).first().unwrap(), "registered: deployment of checkout:live from version 1 to 2");
}
