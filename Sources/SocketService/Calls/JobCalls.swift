import HTTPTypes
import Hummingbird
import SamplingEngine

extension SamplingService {
    /// `POST /v1/jobs`: the same body as a generation; the job survives its connection.
    func startJob(_ call: Call) async throws(ServiceError) -> Response {
        let order = try await order(call)
        guard !order.isStreamed else { throw .badField(name: "stream", reason: "a job is watched at /v1/jobs/ID/events") }
        try await jobs.checkRoom()
        let generation = try await submit(order, call, isJob: true)
        let job = try await jobs.start(generation, of: call.connection.owner)
        var response = Response(json: JobReply(job, position: generation.ticket.position), status: .accepted)
        response.headers[.location] = "/v1/jobs/\(job.id)"
        return response
    }

    /// `GET /v1/jobs`: those of the caller's user, newest first, without their pictures.
    func listJobs(_ call: Call) async -> Response {
        let own = await jobs.all(of: call.connection.owner)
        var replies: [JobReply] = []
        for job in own { replies.append(await reply(job, withResult: false)) }
        return Response(json: JobList(data: replies))
    }

    /// `GET /v1/jobs/{id}`
    func job(_ call: Call) async throws(ServiceError) -> Response {
        Response(json: await reply(try await jobs.job(call.id)))
    }

    /// `GET /v1/jobs/{id}/events`: from the start, however late one comes; leaving does not stop the job.
    func jobEvents(_ call: Call) async throws(ServiceError) -> Response {
        let size = try await jobs.job(call.id).order.size
        return stream(try await jobs.watch(call.id), size: size, of: call)
    }

    /// `DELETE /v1/jobs/{id}`: the engine lets go at its next step.
    func cancelJob(_ call: Call) async throws(ServiceError) -> Response {
        let job = try await jobs.beginCancelling(call.id)
        await engine.cancel(job.ticket)
        return Response(json: await reply(job), status: .accepted)
    }

    private func reply(_ job: Job, withResult: Bool = true) async -> JobReply {
        let position = job.status == .queued ? await engine.position(of: job.ticket) : nil
        return JobReply(job, position: position, withResult: withResult)
    }
}

extension Call {
    fileprivate var id: String { parameters.get("id") ?? "" }
}
