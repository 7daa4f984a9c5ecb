# MMS runs this, once for a model, where it would start a Python worker: the model is loaded as
# long as this process lives, and MMS kills it to unload the model. It announces itself to the
# server, waits until somebody listens on the model's socket, and from then on only stays alive.
#
# Being stopped is how it waits: it costs no file, no descriptor and no second program. In the
# first line, the server has written its process id.
while [ "$1" != --sock-name ]; do shift; done
run=${2%/*}

kill -0 "$server" && echo $$ 1<>"$run/launches" || exit 1
kill -STOP $$ # until the server listens on the model's socket

echo "[PID] $$"
echo "MMS worker started."
kill -STOP $$ # until MMS has connected: to MMS, output that ends earlier is a failed start

# Without its pipes, MMS keeps two threads and two descriptors fewer for the model.
exec <"$run/alive" >/dev/null 2>&1
read -r _ # until MMS kills it, or the server is gone and nobody holds the other end
