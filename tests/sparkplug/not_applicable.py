"""Ids of the specification that do not concern this edge node, each with the reason.

The observer proves the reasons that can be seen: ``Report.unused`` names a reason that a conversation contradicts.
"""

from __future__ import annotations

_NO_ALIAS = "Metrics are sent by name; the node uses no aliases."
_NO_TEMPLATE = "The node publishes no Templates; the codec reads and writes them."
_ONE_BOX = "The plant gives out group and edge node ids; one box sees only its own."

NOT_APPLICABLE = {
    "tck-id-intro-edge-node-id-uniqueness": _ONE_BOX,
    "tck-id-payloads-nbirth-edge-node-descriptor": _ONE_BOX,
    "tck-id-topic-structure-namespace-unique-edge-node-descriptor": _ONE_BOX,
    "tck-id-operational-behavior-primary-application-state-with-multiple-servers-state": (
        "It binds the host application, which publishes STATE on every server; ours is an edge node."
    ),
    "tck-id-payloads-alias-birth-requirement": _NO_ALIAS,
    "tck-id-payloads-alias-data-cmd-requirement": _NO_ALIAS,
    "tck-id-payloads-alias-uniqueness": _NO_ALIAS,
    "tck-id-payloads-template-definition-members": _NO_TEMPLATE,
    "tck-id-payloads-template-definition-nbirth": _NO_TEMPLATE,
    "tck-id-payloads-template-definition-nbirth-only": _NO_TEMPLATE,
    "tck-id-payloads-template-definition-parameters": _NO_TEMPLATE,
    "tck-id-payloads-template-instance-members": _NO_TEMPLATE,
    "tck-id-payloads-template-instance-members-birth": _NO_TEMPLATE,
    "tck-id-payloads-template-instance-members-data": _NO_TEMPLATE,
    "tck-id-payloads-template-instance-parameters": _NO_TEMPLATE,
    "tck-id-topics-nbirth-templates": _NO_TEMPLATE,
}
