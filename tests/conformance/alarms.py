"""The same alarms on the same data, on the emulator and on LocalStack's alarm evaluator: the same sequence of states.

The data is a story of 100 seconds that is told to both once a second, after a minute of history. What is known to differ stands
beside the alarm, with its reason (README.md), and is checked too: a difference that is gone is as interesting as a new one."""

import datetime
import os
import time
from concurrent.futures import ThreadPoolExecutor

from common import TOOLS, Server, check, client, equal, finish, holds, start_emulator, until
from ports import free_port, listens

PERIOD_S, HISTORY_S, STORY_S = 10, 60, 100
# Points are readable some time after they were put, so the history is put before the alarms look at it.
LEAD_S = 5
NAMESPACE = "Conformance"
GOOD, BAD = 1.0, 9.0
OK, ALARM, NO_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"


def story(second):
    """Name, dimensions and value of each point of a second; the alarms are made at 0."""
    wave = BAD if 15 <= second < 45 else GOOD
    yield "Wave", {}, wave
    yield "Calls", {"Version": "1"}, GOOD
    yield "Calls", {"Version": "2"}, wave
    yield "Twice", {}, BAD if second in (48, 78) else GOOD
    yield "Spike", {}, BAD if second == 35 else GOOD
    yield "Long", {}, BAD if 15 <= second < 55 else GOOD
    if second < 30:
        yield "Stops", {}, wave
    if second == 36:
        yield "Once", {}, BAD


def alarm(metric, statistic="Maximum", comparison="GreaterThanThreshold", threshold=5.0, m=1, n=1, missing="missing", dimensions=None):
    stat = {"ExtendedStatistic": statistic} if statistic.startswith("p") else {"Statistic": statistic}
    return {"Namespace": NAMESPACE, "MetricName": metric, **stat, "ComparisonOperator": comparison, "Threshold": threshold,
            "Dimensions": [{"Name": key, "Value": value} for key, value in (dimensions or {}).items()], "Period": PERIOD_S,
            "DatapointsToAlarm": m, "EvaluationPeriods": n, "TreatMissingData": missing}


def math_alarm(expression, metric):
    stat = {"Metric": {"Namespace": NAMESPACE, "MetricName": metric}, "Period": PERIOD_S, "Stat": "Maximum"}
    metrics = [{"Id": "e", "Expression": expression, "ReturnData": True}, {"Id": "m", "MetricStat": stat, "ReturnData": False}]
    return {"Metrics": metrics, "ComparisonOperator": "GreaterThanThreshold", "Threshold": 5.0, "EvaluationPeriods": 1}


there_and_back, back_and_there = [NO_DATA, OK, ALARM, OK], [NO_DATA, ALARM, OK, ALARM]
# Alarm, states in order on the emulator, and on LocalStack where they differ.
CASES = {
    "static: greater": (alarm("Wave"), there_and_back),
    "static: greater or equal, at the threshold": (alarm("Wave", comparison="GreaterThanOrEqualToThreshold", threshold=BAD), there_and_back),
    "static: less, minimum": (alarm("Long", "Minimum", "LessThanThreshold"), back_and_there),
    "static: less or equal, at the threshold": (alarm("Long", "Minimum", "LessThanOrEqualToThreshold", GOOD), back_and_there),
    "static: average": (alarm("Wave", "Average", threshold=8.0), there_and_back),
    "static: sum": (alarm("Wave", "Sum", threshold=60.0), there_and_back),
    "static: sample count": (alarm("Wave", "SampleCount", threshold=1.0), [NO_DATA, ALARM]),
    "static: a spike of a second": (alarm("Spike"), there_and_back),
    "dimensions: the version that is bad": (alarm("Calls", dimensions={"Version": "2"}), there_and_back),
    "dimensions: the version that is good": (alarm("Calls", dimensions={"Version": "1"}), [NO_DATA, OK]),
    "dimensions: none, where each point has one": (alarm("Calls"), [NO_DATA]),
    "2 of 3: a breach of 30 s": (alarm("Wave", m=2, n=3), there_and_back),
    "2 of 3: a spike of a second": (alarm("Spike", m=2, n=3), [NO_DATA, OK]),
    "1 of 3: a spike of a second": (alarm("Spike", m=1, n=3), there_and_back),
    "missing data, missing": (alarm("Stops"), [NO_DATA, OK, ALARM, NO_DATA]),
    "missing data, ignore": (alarm("Stops", missing="ignore"), [NO_DATA, OK, ALARM]),
    "missing data, breaching": (alarm("Stops", missing="breaching"), [NO_DATA, OK, ALARM]),
    "missing data, notBreaching": (alarm("Stops", missing="notBreaching"), there_and_back),
    "never any data, missing": (alarm("Never"), [NO_DATA]),
    "never any data, ignore": (alarm("Never", missing="ignore"), [NO_DATA]),
    "never any data, breaching": (alarm("Never", missing="breaching"), [NO_DATA, ALARM]),
    "never any data, notBreaching": (alarm("Never", missing="notBreaching"), [NO_DATA, OK]),
    "3 of 3, one breaching point, missing": (alarm("Once", m=3, n=3), [NO_DATA, ALARM, NO_DATA]),
    "3 of 3, one breaching point, ignore": (alarm("Once", m=3, n=3, missing="ignore"), [NO_DATA]),
    "3 of 3, one breaching point, notBreaching": (alarm("Once", m=3, n=3, missing="notBreaching"), [NO_DATA, OK]),
    # Known differences.
    "2 of 3: two spikes three periods apart": (alarm("Twice", m=2, n=3), [NO_DATA, OK], [NO_DATA, OK, ALARM]),
    "percentile": (alarm("Wave", "p90"), there_and_back, [NO_DATA]),
    "metric math": (math_alarm("m * 1", "Wave"), there_and_back, [NO_DATA]),
}


def start_localstack():
    port, state = free_port(), TOOLS / "state/localstack"
    state.mkdir(parents=True, exist_ok=True)
    env = {"PATH": os.environ["PATH"], "HOME": str(state), "TMPDIR": str(state), "GATEWAY_LISTEN": f"127.0.0.1:{port}",
           "LOCALSTACK_HOST": f"localhost:{port}", "DISABLE_EVENTS": "1", "SKIP_SSL_CERT_DOWNLOAD": "1", "DNS_ADDRESS": "0",
           "SERVICES": "cloudwatch", "STRICT_SERVICE_LOADING": "1", "EAGER_SERVICE_LOADING": "1", "FILESYSTEM_ROOT": str(state),
           "LOCALSTACK_VOLUME_DIR": str(state)}
    server = Server("localstack", [TOOLS / "localstack/bin/python", "-m", "localstack.runtime.main"], env)
    server.wait_until(lambda: listens(port))
    return server, f"http://127.0.0.1:{port}"


class Evaluator:
    """One of the two, and the states that it has shown: by case, state and second of the story."""

    def __init__(self, name, server, endpoint):
        self.name, self.server, self.cloudwatch = name, server, client("cloudwatch", endpoint)
        self.states, self.reasons = {case: [] for case in CASES}, {}

    def put(self, seconds, began):
        data = [{"MetricName": name, "Value": value, "StorageResolution": 1,
                 "Timestamp": datetime.datetime.fromtimestamp(began + second, datetime.timezone.utc),
                 "Dimensions": [{"Name": key, "Value": text} for key, text in dimensions.items()]}
                for second in seconds for name, dimensions, value in story(second)]
        self.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)

    def round_trip(self):
        """Whether a point that was put comes back: an emulator may answer 200 and lose it."""
        now = datetime.datetime.now(datetime.timezone.utc)
        self.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=[{"MetricName": "Probe", "Value": 3.0, "Timestamp": now}])
        stat = {"Metric": {"Namespace": NAMESPACE, "MetricName": "Probe"}, "Period": 60, "Stat": "Sum"}
        window = {"StartTime": now - datetime.timedelta(minutes=2), "EndTime": now + datetime.timedelta(minutes=2)}
        until(f"a point on {self.name}", lambda: self.cloudwatch.get_metric_data(
            MetricDataQueries=[{"Id": "m", "MetricStat": stat}], **window)["MetricDataResults"][0]["Values"] == [3.0], 20)

    def look(self, second):
        found = self.cloudwatch.describe_alarms(MaxRecords=100)["MetricAlarms"]
        for alarm in found:
            seen = self.states[alarm["AlarmName"]]
            if not seen or seen[-1][0] != alarm["StateValue"]:
                seen.append((alarm["StateValue"], second))
                self.reasons[alarm["AlarmName"], alarm["StateValue"]] = alarm["StateReason"]

    def tell(self):
        """Tells the story and watches."""
        self.round_trip()
        began = time.time() + LEAD_S
        self.put(range(-HISTORY_S, -LEAD_S), began)
        for second in range(-LEAD_S, 0):
            self.at(second, began)
        # LocalStack looks at alarms of several periods so seldom that the moment counts: they are the first.
        for case in sorted(CASES, key=lambda case: -CASES[case][0]["EvaluationPeriods"]):
            self.cloudwatch.put_metric_alarm(AlarmName=case, **CASES[case][0])
            # All begin here, and the first evaluation may be faster than the first look.
            self.states[case] = [(NO_DATA, 0)]
        for second in range(STORY_S):
            self.at(second, began)
            self.look(second)
        self.server.end()

    def at(self, second, began):
        """Puts the points of a second when it has come."""
        time.sleep(max(0.0, began + second - time.time()))
        self.put([second], began)


EVALUATORS = [Evaluator("the emulator", *start_emulator("alarms-emulator", "--bare")), Evaluator("LocalStack", *start_localstack())]
EMULATOR, LOCALSTACK = EVALUATORS
with ThreadPoolExecutor() as pool:
    for told in [pool.submit(evaluator.tell) for evaluator in EVALUATORS]:
        told.result()

for case, (_, expected, *differs) in CASES.items():
    @check(f"{case}: {' '.join(expected)}" + (f"; LocalStack: {' '.join(differs[0])}" if differs else ""))
    def _():
        for evaluator, states in ((EMULATOR, expected), (LOCALSTACK, differs[0] if differs else expected)):
            equal([state for state, _ in evaluator.states[case]], states, f"on {evaluator.name} {evaluator.states[case]}: sequence")


@check("known difference: LocalStack evaluates an alarm once in Period x EvaluationPeriods")
def _():
    case = "2 of 3: a breach of 30 s"
    into, back = (dict((state, second) for state, second in evaluator.states[case]) for evaluator in EVALUATORS)
    changes = [second for _, second in LOCALSTACK.states[case][1:]]
    late = [(second - changes[0]) % 30 for second in changes]
    holds(all(min(seconds, 30 - seconds) <= 4 for seconds in late), f"LocalStack changed at {changes}")
    holds(into[OK] < back[OK], f"back to OK: the emulator at {into[OK]}, LocalStack at {back[OK]}")


@check("known difference: LocalStack gives no numbers as the reason")
def _():
    key = ("static: greater", ALARM)
    equal(LOCALSTACK.reasons[key], "Threshold Crossed", "reason")
    holds("was greater than the threshold (5.0)" in EMULATOR.reasons[key], EMULATOR.reasons[key])


finish()
