// Peers that are not ours: servers and clients of gRPC and of WebSocket, for the tests of what lies between them.
//
//	peers serve CERT KEY
//	    serves for ever, and prints where: `grpc ADDRESS`, `grpc-tls ADDRESS`, `http ADDRESS`
//	peers grpc TARGET CA TOKEN CASE...
//	    runs cases of gRPC's interoperability suite, over TLS or in cleartext when CA is empty; 0: all are right
//	peers quiet-grpc TARGET CA TOKEN TIME
//	    a stream in both directions that is silent at its beginning, and again in the middle
//	peers quiet-websocket ADDRESS CA TOKEN TIME
//	    a WebSocket that is silent between two messages
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// The cases by their names in gRPC's own documents.
var cases = map[string]func(context.Context, *grpc.ClientConn, testpb.TestServiceClient){
	"empty_unary":                 of(interop.DoEmptyUnaryCall),
	"large_unary":                 of(interop.DoLargeUnaryCall),
	"client_streaming":            of(interop.DoClientStreaming),
	"server_streaming":            of(interop.DoServerStreaming),
	"ping_pong":                   of(interop.DoPingPong),
	"empty_stream":                of(interop.DoEmptyStream),
	"cancel_after_begin":          of(interop.DoCancelAfterBegin),
	"cancel_after_first_response": of(interop.DoCancelAfterFirstResponse),
	"timeout_on_sleeping_server":  of(interop.DoTimeoutOnSleepingServer),
	"custom_metadata":             of(interop.DoCustomMetadata),
	"status_code_and_message":     of(interop.DoStatusCodeAndMessage),
	"special_status_message":      of(interop.DoSpecialStatusMessage),
	"unimplemented_method": func(ctx context.Context, conn *grpc.ClientConn, _ testpb.TestServiceClient) {
		interop.DoUnimplementedMethod(ctx, conn)
	},
	"unimplemented_service": func(ctx context.Context, conn *grpc.ClientConn, _ testpb.TestServiceClient) {
		interop.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(conn))
	},
}

func of(do func(context.Context, testpb.TestServiceClient, ...grpc.CallOption)) func(context.Context, *grpc.ClientConn, testpb.TestServiceClient) {
	return func(ctx context.Context, _ *grpc.ClientConn, client testpb.TestServiceClient) { do(ctx, client) }
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 4 {
		log.Fatal("peers: see main.go")
	}
	args := os.Args[2:]
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(args[0], args[1])
	case "grpc":
		err = runCases(args[0], args[1], args[2], args[3:])
	case "quiet-grpc":
		err = quietStream(args[0], args[1], args[2], duration(args[3]))
	case "quiet-websocket":
		err = quietWebSocket(args[0], args[1], args[2], duration(args[3]))
	default:
		err = errors.New("no such command")
	}
	if err != nil {
		log.Fatalf("peers %s: %v", os.Args[1], err)
	}
}

func serve(certificate, key string) error {
	secure, err := credentials.NewServerTLSFromFile(certificate, key)
	if err != nil {
		return err
	}
	for name, server := range map[string]*grpc.Server{"grpc": grpc.NewServer(), "grpc-tls": grpc.NewServer(grpc.Creds(secure))} {
		testpb.RegisterTestServiceServer(server, interop.NewTestServer())
		if err := announce(name, server.Serve); err != nil {
			return err
		}
	}
	if err := announce("http", (&http.Server{Handler: http.HandlerFunc(echo)}).Serve); err != nil {
		return err
	}
	select {}
}

func announce(name string, serve func(net.Listener) error) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { log.Fatal(serve(listener)) }()
	fmt.Println(name, listener.Addr())
	return nil
}

// Sends back what comes on a WebSocket.
func echo(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{Subprotocols: []string{"echo"}}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil || conn.WriteMessage(kind, message) != nil {
			return
		}
	}
}

func runCases(target, ca, token string, names []string) error {
	conn, err := dial(target, ca, token)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, name := range names {
		do, ok := cases[name]
		if !ok {
			return fmt.Errorf("no case is called %q", name)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		// It ends the process when anything is wrong.
		do(ctx, conn, testpb.NewTestServiceClient(conn))
		cancel()
		fmt.Println("right:", name)
	}
	return nil
}

func quietStream(target, ca, token string, silence time.Duration) error {
	conn, err := dial(target, ca, token)
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := testpb.NewTestServiceClient(conn).FullDuplexCall(context.Background())
	if err != nil {
		return err
	}
	for i := range 2 {
		time.Sleep(silence)
		request := &testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: int32(i + 1)}}}
		if err := stream.Send(request); err != nil {
			return err
		}
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		if got := len(response.GetPayload().GetBody()); got != i+1 {
			return fmt.Errorf("%d bytes instead of %d", got, i+1)
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); err != io.EOF {
		return fmt.Errorf("no end: %v", err)
	}
	return nil
}

func quietWebSocket(address, ca, token string, silence time.Duration) error {
	config, err := tlsConfig(ca)
	if err != nil {
		return err
	}
	dialer := websocket.Dialer{TLSClientConfig: config, Subprotocols: []string{"echo"}}
	conn, _, err := dialer.Dial("wss://"+address+"/ws", http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return err
	}
	defer conn.Close()
	if conn.Subprotocol() != "echo" {
		return fmt.Errorf("the subprotocol is %q", conn.Subprotocol())
	}
	for _, sent := range []string{"before", "after"} {
		if err := conn.WriteMessage(websocket.TextMessage, []byte(sent)); err != nil {
			return err
		}
		_, got, err := conn.ReadMessage()
		if err != nil || string(got) != sent {
			return fmt.Errorf("%q instead of %q: %v", got, sent, err)
		}
		if sent == "before" {
			time.Sleep(silence)
		}
	}
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := conn.WriteMessage(websocket.CloseMessage, goodbye); err != nil {
		return err
	}
	if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		return fmt.Errorf("no goodbye: %v", err)
	}
	return nil
}

func dial(target, ca, token string) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if ca != "" {
		config, err := tlsConfig(ca)
		if err != nil {
			return nil, err
		}
		transport = credentials.NewTLS(config)
	}
	return grpc.NewClient(target, grpc.WithTransportCredentials(transport), grpc.WithPerRPCCredentials(bearer(token)))
}

func tlsConfig(ca string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", ca)
	}
	return &tls.Config{RootCAs: roots}, nil
}

// A token that is sent with each call, over TLS or not.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

func duration(text string) time.Duration {
	value, err := time.ParseDuration(text)
	if err != nil {
		log.Fatal(err)
	}
	return value
}
