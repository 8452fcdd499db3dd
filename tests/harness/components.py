"""What runs: each component of the cluster with its command line and configuration."""

import json
from dataclasses import dataclass

from harness import host, pki
from harness.network import BRIDGE, CNI, FIRST_SERVICE, NODE_IP, PODS, SERVICES
from harness.paths import BIN, STATE

NODE = "pilothouse"
SERVER = f"https://{NODE_IP}:6443"
SERVER_NAMES = (
    "IP:127.0.0.1",
    f"IP:{NODE_IP}",
    f"IP:{FIRST_SERVICE}",
    "DNS:localhost",
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
    "DNS:kubernetes.default.svc.cluster.local",
)
ETCD = "http://127.0.0.1:12379"
ETCD_PEER = "http://127.0.0.1:12380"
CONFIG = STATE / "config"
SOCKET = STATE / "run" / "containerd.sock"
PAUSE = "pilothouse.dev/pause:1"
KUBELET_ROOT = STATE / "kubelet"
POD_LOGS = STATE / "pod-logs"
ADDRESSES = (
    *(("127.0.0.1", port) for port in (12379, 12380, 10248, 10249, 10256, 10257, 10259, 18181)),
    *((NODE_IP, port) for port in (53, 6443, 10250)),
)


@dataclass(frozen=True)
class Component:
    """A long-running program.

    Attributes:
        name: as in `stop_component(name)`, and the program's file name.
        argv: the command line.
        url: when the component is ready, this answers 200, or takes a connection if it is a socket; "" where
            running is enough.

    """

    name: str
    argv: tuple[str, ...]
    url: str = ""


def components() -> list[Component]:
    """Return every component, the ones that others need first."""
    return [
        _etcd(),
        _containerd(),
        _apiserver(),
        _controller_manager(),
        _scheduler(),
        _kubelet(),
        _proxy(),
        Component(
            "coredns", (f"{BIN}/coredns", "-conf", f"{CONFIG / 'Corefile'}"), "http://127.0.0.1:18181/ready"
        ),
    ]


def write_configuration() -> None:
    """Write the files that the components' command lines name."""
    CONFIG.mkdir()
    host.NODE_IS_KNOWN.mkdir(parents=True, exist_ok=True)
    (CONFIG / "kubelet.json").write_text(json.dumps(_kubelet_configuration(), indent=2))
    (CONFIG / "kube-proxy.json").write_text(json.dumps(_proxy_configuration(), indent=2))
    (CONFIG / "containerd.toml").write_text(CONTAINERD)
    (CONFIG / "Corefile").write_text(COREFILE)


def _etcd() -> Component:
    argv = (
        "etcd",
        f"--data-dir={STATE / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={ETCD_PEER}",
        f"--initial-advertise-peer-urls={ETCD_PEER}",
        f"--initial-cluster=default={ETCD_PEER}",
    )
    return Component("etcd", argv, f"{ETCD}/health")


def _containerd() -> Component:
    # Pulls go to a closed port of this machine: a missing image fails at once, and no registry is asked.
    no_registry = ("env", "HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1")
    argv = (*no_registry, f"{BIN}/containerd", f"--config={CONFIG}/containerd.toml")
    return Component("containerd", argv, f"unix://{SOCKET}")


def _apiserver() -> Component:
    argv = (
        f"{BIN}/kube-apiserver",
        f"--etcd-servers={ETCD}",
        f"--bind-address={NODE_IP}",
        f"--advertise-address={NODE_IP}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-cluster-ip-range={SERVICES}",
        f"--client-ca-file={pki.FOLDER}/ca.crt",
        f"--tls-cert-file={pki.FOLDER}/apiserver.crt",
        f"--tls-private-key-file={pki.FOLDER}/apiserver.key",
        f"--kubelet-client-certificate={pki.FOLDER}/kubelet-client.crt",
        f"--kubelet-client-key={pki.FOLDER}/kubelet-client.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki.FOLDER}/service-accounts.pub",
        f"--service-account-signing-key-file={pki.FOLDER}/service-accounts.key",
    )
    return Component("kube-apiserver", argv, f"{SERVER}/readyz")


def _controller_manager() -> Component:
    name = "kube-controller-manager"
    argv = (
        f"{BIN}/{name}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--root-ca-file={pki.FOLDER}/ca.crt",
        f"--service-account-private-key-file={pki.FOLDER}/service-accounts.key",
        # The defaults, 20 and 30, let a test with thousands of objects measure the controllers' queue.
        "--kube-api-qps=300",
        "--kube-api-burst=600",
        # As on a busy cluster: a pod is ready before its Service names it.
        "--endpointslice-updates-batch-period=1s",
        *_kubeconfigs(name),
    )
    return Component(name, argv)


def _scheduler() -> Component:
    name = "kube-scheduler"
    argv = (f"{BIN}/{name}", "--bind-address=127.0.0.1", "--leader-elect=false", *_kubeconfigs(name))
    return Component(name, argv)


def _kubelet() -> Component:
    argv = (
        f"{BIN}/kubelet",
        f"--config={CONFIG}/kubelet.json",
        f"--kubeconfig={pki.kubeconfig('kubelet')}",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_IP}",
        f"--root-dir={KUBELET_ROOT}",
        f"--cert-dir={KUBELET_ROOT}/pki",
    )
    return Component("kubelet", argv, "http://127.0.0.1:10248/healthz")


def _proxy() -> Component:
    return Component("kube-proxy", (f"{BIN}/kube-proxy", f"--config={CONFIG}/kube-proxy.json"))


def _kubeconfigs(name: str) -> tuple[str, ...]:
    purposes = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    return tuple(f"--{purpose}={pki.kubeconfig(name)}" for purpose in purposes)


def _kubelet_configuration() -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_IP,
        "authentication": {"x509": {"clientCAFile": f"{pki.FOLDER}/ca.crt"}},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": "/pilothouse",
        "clusterDNS": [NODE_IP],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        # Requests bound what is on the node; limits of 0.1 cores would only make engines start slowly.
        "cpuCFSQuota": False,
        "enforceNodeAllocatable": ["none"],
        "evictionHard": dict.fromkeys(("memory.available", "nodefs.available", "imagefs.available"), "0%"),
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "kubeAPIBurst": 200,
        "kubeAPIQPS": 100,
        "maxPods": 250,
        "podLogsDir": str(POD_LOGS),
        "serializeImagePulls": False,
        "volumePluginDir": f"{KUBELET_ROOT}/volume-plugins",
    }


def _proxy_configuration() -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": NODE_IP,
        "clientConnection": {"kubeconfig": str(pki.kubeconfig("kube-proxy"))},
        "clusterCIDR": PODS,
        "conntrack": {"maxPerCore": 0},
        "detectLocalMode": "BridgeInterface",
        "detectLocal": {"bridgeInterface": BRIDGE},
        "healthzBindAddress": "127.0.0.1:10256",
        "hostnameOverride": NODE,
        # Pods share a bridge: without this, an answer takes the short way past the address translation.
        "iptables": {"masqueradeAll": True, "minSyncPeriod": "200ms"},
        "metricsBindAddress": "127.0.0.1:10249",
        "mode": "iptables",
    }


# Without its plugins opt and nri, containerd makes nothing outside of the folders that it is given.
CONTAINERD = f"""\
version = 4
root = "{STATE}/containerd"
state = "{STATE}/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
[plugins."io.containerd.server.v1.grpc"]
address = "{SOCKET}"
[plugins."io.containerd.server.v1.ttrpc"]
address = "{SOCKET}.ttrpc"
[plugins."io.containerd.shim.v1.manager"]
socket_dir = "{STATE}/run/shims"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
netns_mounts_under_state_dir = true
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{CNI}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
Root = "{STATE}/run/runc"
SystemdCgroup = false
"""

# No name outside the cluster is looked up: nothing in it calls one.
COREFILE = f"""\
cluster.local in-addr.arpa {{
    bind {NODE_IP}
    errors
    ready 127.0.0.1:18181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {pki.kubeconfig("admin")}
    }}
}}
. {{
    bind {NODE_IP}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
