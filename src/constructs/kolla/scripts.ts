/** The two small shell programs that run in init containers of the service's own image. POSIX sh; the second needs curl. */

/**
 * A volume hides what the image has at its mount point; this brings it back, as a container engine does for a new volume.
 * Arguments: the marker, then triples: `own` or `named`, the directory of the image, where its volume is mounted here.
 * A volume of the pod's own is filled once in its life. A named one outlives the pod: it is filled only while empty.
 */
export const FILL_VOLUMES = `marker=$1
shift
while [ $# -gt 0 ]; do
  wanted=yes
  case $1 in
    own) if [ -e "$marker" ]; then wanted=; fi ;;
    named) if [ -n "$(ls -A "$3")" ]; then wanted=; fi ;;
  esac
  if [ -n "$wanted" ] && [ -d "$2" ]; then cp -a "$2/." "$3/"; fi
  shift 3
done
: >"$marker"`;

/**
 * Waits for a Job or a rollout. Arguments: `job NAME`, or `rollout deployments|daemonsets NAME RELEASE`. The token goes to curl through a pipe, not through its arguments. Ends with 1 when the Job has failed.
 */
export const WAIT_FOR = `account=\${WAIT_ACCOUNT:-/var/run/secrets/kubernetes.io/serviceaccount}
namespace=$(cat "$account/namespace")
host=$KUBERNETES_SERVICE_HOST
case $host in *:*) host="[$host]" ;; esac
case $1 in
  job) path="/apis/batch/v1/namespaces/$namespace/jobs/$2"; what="the Job $2" ;;
  rollout) path="/apis/apps/v1/namespaces/$namespace/$2/$3"; what="the rollout of $3" ;;
esac
ask() {
  printf 'header = "Authorization: Bearer %s"\\n' "$(cat "$account/token")" |
    curl --config - --silent --show-error --fail --max-time 10 --cacert "$account/ca.crt" \\
      "https://$host:\${KUBERNETES_SERVICE_PORT:-443}$path" | tr -d '[:space:]'
}
number() { printf '%s' "$answer" | sed -n "s/.*\\"$1\\":\\([0-9]*\\).*/\\1/p"; }
same() { [ "$(number "$1")" = "$2" ]; }
has() { case $answer in *"$1"*) return 0 ;; *) return 1 ;; esac; }
finished() {
  if [ "$1" = job ]; then
    if has '"type":"Failed","status":"True"'; then
      echo "$what has failed" >&2
      exit 1
    fi
    has '"type":"Complete","status":"True"'
    return
  fi
  has "\\"baremetal.bms.io/release\\":\\"$4\\"" && same observedGeneration "$(number generation)" || return 1
  if [ "$2" = daemonsets ]; then
    pods=$(number desiredNumberScheduled)
    [ "$pods" = 0 ] || { same updatedNumberScheduled "$pods" && same numberAvailable "$pods"; }
  else
    pods=$(printf '%s' "$answer" | sed -n 's/.*"spec":{"replicas":\\([0-9]*\\).*/\\1/p')
    # the last "replicas" is the status's: old pods count in it
    [ "$pods" = 0 ] || { same updatedReplicas "$pods" && same availableReplicas "$pods" && same replicas "$pods"; }
  fi
}
echo "waiting for $what"
until answer=$(ask) && finished "$@"; do sleep "\${WAIT_SECONDS:-5}"; done
echo "$what is done"`;
