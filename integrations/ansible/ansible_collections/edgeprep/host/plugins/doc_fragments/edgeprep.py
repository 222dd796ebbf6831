# Copyright: (c) 2026, the edgeprep authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# or, at your option, Apache License 2.0 (see LICENSES/Apache-2.0.txt).
# SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
"""What the documentation of the modules shares."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  executable:
    description:
      - The program edgeprep on the target, a path or a name that is looked up in E(PATH) and C(/usr/local/bin).
      - It is not installed by this module; the role P(edgeprep.host.prepare#role) does.
    type: path
    default: edgeprep
  root:
    description:
      - An image root on the target, as C(/mnt/image). Files are read and written there, and nothing that runs is told.
      - Without it the running host is meant.
    type: path
  timeout:
    description:
      - After how many seconds edgeprep is stopped, and the task fails. What a fix had begun is put back by the next one.
    type: int
    default: 600
attributes:
  platform:
    description: The platform of the target.
    support: full
    platforms: linux
requirements:
  - edgeprep 0.1 on the target
  - Python 3.8 or later on the target
notes:
  - Variables of the target's environment whose names begin with E(EDGEPREP_) are not heard, nor is E(SUDO_USER).
    A task means the same whoever runs it.
  - None of the options is meant for a secret. What comes out of a vault is shown as any other value; the task's
    own keyword C(no_log) hides it.
"""

    JUDGE = r"""
options:
  stacks:
    description:
      - The stacks that shall run, V(podman), V(podman-kube), V(k3s), V(k3d), V(kind), V(minikube) or V(usernetes).
      - By default those of the profile, else V(podman) and V(k3s), or V(podman-kube) where O(workload) is given.
    type: list
    elements: str
    default: []
  users:
    description:
      - Whose rootless stacks, by name or UID.
      - By default the caller if that is not root, else the user of the profile, else the only regular user of the host.
        Where there are several, the task fails and says which.
    type: list
    elements: str
    default: []
  profile:
    description:
      - A profile, by its name or by the path of a file on the target, or V(auto), which recognises the board.
      - By default V(auto).
    type: str
  workload:
    description:
      - Files on the target of what shall run there, Kubernetes YAML or Quadlet files. What they ask is required, too.
    type: list
    elements: path
    default: []
  select:
    description: Only checks whose ID matches one of these patterns.
    type: list
    elements: str
    default: []
  ignore:
    description: Checks whose ID matches one of these patterns are left out, and listed as ignored.
    type: list
    elements: str
    default: []
  strict:
    description: Whether what is advised counts as required.
    type: bool
    default: false
  fail_on:
    description:
      - Which verdict makes the task fail, with the text of what is in the way. Each value includes those before it.
      - V(never) leaves it to what follows, by RV(ready).
      - V(not-ready) fails where something required is not met.
      - V(unknown) fails also where something required could not be determined.
      - V(pending) fails also where all is configured, but a re-login or a reboot is missing. Only a ready host passes.
    type: str
    choices: [never, not-ready, unknown, pending]
    default: never
"""
