"""Answers against botocore's service model: no unknown member, the right types, errors that the operation documents."""

import copy
import datetime
import json

import boto3
import botocore.session
from botocore.parsers import RpcV2CBORParser

from common import CONFIG, PROBLEMS, REGION

# Errors that any operation may answer without modelling them.
COMMON = {"ThrottlingException", "AccessDeniedException", "ValidationException", "ValidationError",
          "UnknownOperationException", "InvalidParameterValue", "InvalidParameter"}
PROTOCOLS = {"json": ("json", "rest-json"), "cbor": ("smithy-rpc-v2-cbor",)}
SCALARS = {"string": (str,), "boolean": (bool,), "integer": (int,), "long": (int,), "float": (int, float), "double": (int, float),
           "blob": (str,), "character": (str,)}
TIMESTAMP = {"json": (int, float, str), "cbor": (datetime.datetime,)}


def checked_client(service, endpoint, protocol):
    """A client whose answers are all checked; what is wrong fails the running check.

    * `protocol`: `json` or `cbor`; a service that does not have it speaks its own."""
    session = botocore.session.get_session()
    loader = session.get_component("data_loader")
    load = loader.load_service_model

    def narrowed(*arguments, **named):
        loaded = copy.deepcopy(load(*arguments, **named))
        protocols = loaded.get("metadata", {}).get("protocols", [])
        loaded.get("metadata", {})["protocols"] = [name for name in protocols if name in PROTOCOLS[protocol]] or protocols
        return loaded

    loader.load_service_model = narrowed
    made = boto3.Session(botocore_session=session).client(service, endpoint_url=endpoint, region_name=REGION, config=CONFIG,
                                                          aws_access_key_id="operator", aws_secret_access_key="none")
    made.meta.events.register("after-call", check_answer)
    return made


def check_answer(http_response, parsed, model, **_):
    """Hook after every call: the raw answer against the model."""
    name = f"{model.service_model.service_name}:{model.name}"
    if http_response.status_code >= 300:
        code = parsed.get("Error", {}).get("Code", "")
        known = {shape.metadata.get("error", {}).get("code", shape.name) for shape in model.error_shapes}
        known |= {shape.name for shape in model.error_shapes} | COMMON
        if code.split("#")[-1] not in known:
            PROBLEMS.append(f"{name} answered {code}, which it does not document")
        return
    protocol = model.service_model.resolved_protocol
    shape = model.output_shape
    # A payload is a stream that the caller reads.
    if shape is None or shape.serialization.get("payload"):
        return
    body = http_response.content
    if protocol in PROTOCOLS["json"]:
        PROBLEMS.extend(f"{name}: {line}" for line in wrong(shape, json.loads(body or b"{}"), "answer", TIMESTAMP["json"]))
    elif protocol in PROTOCOLS["cbor"]:
        parser = RpcV2CBORParser()
        value = parser.parse_data_item(parser.get_peekable_stream_from_bytes(body)) if body else {}
        PROBLEMS.extend(f"{name}: {line}" for line in wrong(shape, value, "answer", TIMESTAMP["cbor"]))


def wrong(shape, value, path, timestamp):
    """What in `value` is not as `shape` says, one line each; `timestamp`: how the protocol gives points in time."""
    kind = shape.type_name
    if value is None:
        return
    if kind == "structure":
        if not isinstance(value, dict):
            yield f"{path} is {type(value).__name__}, not an object"
            return
        names = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        for name, member_value in value.items():
            if name == "__type":
                continue
            if name not in names:
                yield f"{path}.{name} is not in the model"
            else:
                yield from wrong(names[name], member_value, f"{path}.{name}", timestamp)
        for name in shape.required_members:
            member = shape.members[name]
            if member.serialization.get("location") is None and member.serialization.get("name", name) not in value:
                yield f"{path}.{name} is required and missing"
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{path} is {type(value).__name__}, not a list"
            return
        for index, item in enumerate(value):
            yield from wrong(shape.member, item, f"{path}[{index}]", timestamp)
    elif kind == "map":
        if not isinstance(value, dict):
            yield f"{path} is {type(value).__name__}, not a map"
            return
        for key, item in value.items():
            yield from wrong(shape.value, item, f"{path}.{key}", timestamp)
    else:
        types = timestamp if kind == "timestamp" else SCALARS.get(kind, (object,))
        if not isinstance(value, types) or (kind in ("integer", "long") and isinstance(value, bool)):
            yield f"{path} is {value!r}, not a {kind}"
