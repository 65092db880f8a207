"""What an API server says: statuses in its words, and objects with what it puts in."""

import re

from starlette.responses import JSONResponse

NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'example.com', regex used for"
    f" validation is '{NAME}')"
)
GROUPS = {"jobs": "batch", "pods": "", "secrets": ""}
KINDS = {"jobs": "Job", "pods": "Pod", "secrets": "Secret"}


def status(code, reason, message, details=None, headers=None):
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    body |= {"message": message, "reason": reason}
    body |= {} if details is None else {"details": details}
    return JSONResponse({**body, "code": code}, code, headers)


def named(code, reason, plural, name, text, *, headers=None, uid=None):
    """Give a status about one object."""
    group = GROUPS[plural]
    details = {"name": name, **({"group": group} if group else {}), "kind": plural}
    if code < 300:
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return JSONResponse({**body, "details": {**details, "uid": uid}})
    resource = f"{plural}.{group}" if group else plural
    return status(code, reason, f'{resource} "{name}" {text}', details, headers)


def forbidden(request):
    plural = request.path_params["plural"]
    text = (
        f'{plural}.batch is forbidden: User "system:anonymous" cannot list resource "{plural}" in'
        f' API group "batch" in the namespace "{request.path_params["ns"]}"'
    )
    return status(403, "Forbidden", text, {"group": "batch", "kind": plural})


def invalid_job(job):
    name = job["metadata"]["name"]
    if not re.fullmatch(NAME, name):
        return invalid(
            name, "FieldValueInvalid", f'Invalid value: "{name}": {RULE}', "metadata.name"
        )
    if job["spec"]["template"]["spec"].get("restartPolicy") not in ("Never", "OnFailure"):
        text = 'Required value: valid values: "OnFailure", "Never"'
        return invalid(name, "FieldValueRequired", text, "spec.template.spec.restartPolicy")
    if len(name) > 63:
        text = f'Invalid value: "{name}": must be no more than 63 characters'
        return invalid(name, "FieldValueInvalid", text, "metadata.name")
    return None


def invalid(name, reason, text, field):
    causes = [{"reason": reason, "message": text, "field": field}]
    details = {"name": name, "group": "batch", "kind": "Job", "causes": causes}
    return status(422, "Invalid", f'Job.batch "{name}" is invalid: {field}: {text}', details)


def complete_job(job):
    """Put in what a server puts in."""
    spec, uid, name = job["spec"], job["metadata"]["uid"], job["metadata"]["name"]
    defaults = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "suspend": False}
    defaults |= {"completionMode": "NonIndexed", "podReplacementPolicy": "TerminatingOrFailed"}
    job["spec"] = spec = {**defaults, **spec, "manualSelector": False}
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    metadata = spec["template"].setdefault("metadata", {})
    metadata["labels"] = {
        **metadata.get("labels", {}),
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    pod = {"terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst"}
    pod |= {"securityContext": {}, "schedulerName": "default-scheduler"}
    spec["template"]["spec"] = {**pod, **spec["template"]["spec"]}
    for container in spec["template"]["spec"]["containers"]:
        tag = container["image"].rpartition("/")[2].partition(":")[2]
        policy = "Always" if tag in ("", "latest") else "IfNotPresent"
        usual = {"resources": {}, "terminationMessagePath": "/dev/termination-log"}
        usual |= {"terminationMessagePolicy": "File", "imagePullPolicy": policy}
        container |= {key: value for key, value in usual.items() if key not in container}
    job["status"] = {}
