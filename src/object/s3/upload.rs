//! Files into a bucket: in one request, or in parts of which several are under way at once; and requests signed for others.
//!
//! Parts are read from the file as they are sent, so a file of any length takes no more memory than a few buffers. What a
//! failure (or a caller who left) leaves of an upload in parts is taken away again.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Error, Presigned, Put, PutOptions, S3};
use crate::base::in_words;

/// Most parts of an upload; the protocol's own bound.
const PARTS_MAX: u64 = 10_000;
/// How often a part is tried, beside the client's own tries.
const PART_TRIES: usize = 2;

impl S3 {
    /// Writes a file.
    pub(super) async fn write_file(&self, key: &str, file: &Path, options: &PutOptions) -> Result<Put, Error> {
        let whole = self.key(key)?;
        let found = tokio::fs::metadata(file).await.map_err(|error| Error::Unavailable(error.to_string()))?;
        if options.if_absent {
            match self.look(key).await {
                Ok(meta) if meta.size == found.len() => return Ok(Put::Existed),
                Ok(_) | Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let opened = tokio::fs::File::open(file).await.map_err(|error| Error::Unavailable(error.to_string()))?;
        let opened = Arc::new(opened.into_std().await);
        if found.len() > self.settings.multipart.above_bytes {
            self.write_parts(&whole, &opened, found.len(), options).await?;
        } else {
            let request = self.described(&whole, options).content_length(found.len() as i64);
            let sent = request.body(self.buffers.body(&opened, 0, found.len())).send().await;
            sent.map_err(|error| self.failed(error))?;
        }
        Ok(Put::Written)
    }

    /// How many uploads in parts are neither completed nor aborted, up to a thousand.
    pub async fn unfinished_uploads(&self) -> Result<usize, Error> {
        let settings = &self.settings;
        let list = self.client.list_multipart_uploads().bucket(&settings.bucket).prefix(&settings.prefix).send().await;
        Ok(list.map_err(|error| self.failed(error))?.uploads.map_or(0, |uploads| uploads.len()))
    }

    /// Aborts what began before a moment and was neither completed nor aborted: its process was killed.
    pub(super) async fn abort_older(&self, before: SystemTime) -> Result<u64, Error> {
        let settings = &self.settings;
        let (mut aborted, mut markers) = (0, (None, None));
        loop {
            let list = self.client.list_multipart_uploads().bucket(&settings.bucket).prefix(&settings.prefix);
            let list = list.set_key_marker(markers.0.take()).set_upload_id_marker(markers.1.take()).send().await;
            let list = list.map_err(|error| self.failed(error))?;
            for upload in list.uploads.unwrap_or_default() {
                let began = upload.initiated.and_then(|at| SystemTime::try_from(at).ok());
                let (Some(key), Some(id), true) = (upload.key, upload.upload_id, began.is_some_and(|at| at < before))
                else {
                    continue;
                };
                abort(self.client.clone(), settings.bucket.clone(), key, id).await;
                aborted += 1;
            }
            markers = (list.next_key_marker, list.next_upload_id_marker);
            if list.is_truncated != Some(true) || markers.0.is_none() {
                return Ok(aborted);
            }
        }
    }

    async fn write_parts(&self, key: &str, file: &Arc<File>, size: u64, options: &PutOptions) -> Result<(), Error> {
        let settings = &self.settings;
        let (encryption, key_id) = self.encryption();
        let user = options.user.clone().into_iter().collect();
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&settings.bucket)
            .key(key)
            .set_content_type(options.content_type.clone())
            .set_cache_control(options.cache_control.clone().or_else(|| settings.cache_control.clone()))
            .set_metadata((!options.user.is_empty()).then_some(user))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(key_id)
            .set_storage_class(self.class(options))
            .send()
            .await
            .map_err(|error| self.failed(error))?;
        let id = created.upload_id.ok_or_else(|| Error::Unavailable("the store named no upload".into()))?;
        let mut upload = Unfinished { client: &self.client, bucket: &settings.bucket, key, id: &id, abandoned: true };
        let sent = self.send_parts(&upload, file, size).await;
        let ended = match sent {
            Ok(parts) => self.complete(&upload, parts).await,
            Err(error) => Err(error),
        };
        upload.abandoned = false;
        if ended.is_err() {
            upload.abort().await;
        }
        ended
    }

    async fn send_parts(
        &self,
        upload: &Unfinished<'_>,
        file: &Arc<File>,
        size: u64,
    ) -> Result<Vec<CompletedPart>, Error> {
        let settings = self.settings.multipart;
        let length = settings.part_bytes.max(size.div_ceil(PARTS_MAX)).max(1);
        let parts = (0..size.div_ceil(length)).map(|number| (number as i32 + 1, number * length));
        let send = |(number, from): (i32, u64)| async move {
            let mut tries = 0;
            loop {
                tries += 1;
                match self.send_part(upload, file, number, from, length.min(size - from)).await {
                    Err(Error::Unavailable(_) | Error::Timeout(_)) if tries < PART_TRIES => {}
                    sent => return sent,
                }
            }
        };
        let mut sent: Vec<CompletedPart> =
            stream::iter(parts).map(send).buffer_unordered(settings.parallel.max(1)).try_collect().await?;
        sent.sort_unstable_by_key(CompletedPart::part_number);
        Ok(sent)
    }

    async fn send_part(
        &self,
        upload: &Unfinished<'_>,
        file: &Arc<File>,
        number: i32,
        from: u64,
        length: u64,
    ) -> Result<CompletedPart, Error> {
        let _turn = self.parts.acquire().await.map_err(|error| Error::Unavailable(error.to_string()))?;
        let sent = self
            .client
            .upload_part()
            .bucket(upload.bucket)
            .key(upload.key)
            .upload_id(upload.id)
            .part_number(number)
            .content_length(length as i64)
            .body(self.buffers.body(file, from, from + length))
            .send()
            .await
            .map_err(|error| self.failed(error))?;
        Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build())
    }

    async fn complete(&self, upload: &Unfinished<'_>, parts: Vec<CompletedPart>) -> Result<(), Error> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completed = self
            .client
            .complete_multipart_upload()
            .bucket(upload.bucket)
            .key(upload.key)
            .upload_id(upload.id)
            .multipart_upload(parts)
            .send()
            .await;
        completed.map(drop).map_err(|error| self.failed(error))
    }

    /// Signs a put for somebody else.
    pub(super) async fn presign(&self, key: &str, valid: Duration, options: &PutOptions) -> Result<Presigned, Error> {
        let config = PresigningConfig::expires_in(valid).map_err(|error| Error::Key(error.to_string()))?;
        let whole = self.key(key)?;
        let signed = self.described(&whole, options).presigned(config).await.map_err(|error| self.failed(error))?;
        let headers = signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Presigned { method: signed.method().to_owned(), url: signed.uri().to_owned(), headers })
    }
}

/// An upload in parts that is neither completed nor aborted.
struct Unfinished<'a> {
    client: &'a Client,
    bucket: &'a str,
    key: &'a str,
    id: &'a str,
    /// Whether nobody will say how it ended: its future was dropped.
    abandoned: bool,
}

impl Unfinished<'_> {
    async fn abort(&self) {
        abort(self.client.clone(), self.bucket.to_owned(), self.key.to_owned(), self.id.to_owned()).await;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.abandoned, tokio::runtime::Handle::try_current()) {
            let (bucket, key, id) = (self.bucket.to_owned(), self.key.to_owned(), self.id.to_owned());
            runtime.spawn(abort(self.client.clone(), bucket, key, id));
        }
    }
}

async fn abort(client: Client, bucket: String, key: String, id: String) {
    let aborted = client.abort_multipart_upload().bucket(&bucket).key(&key).upload_id(&id).send().await;
    if let Err(error) = aborted {
        let error = in_words(&error);
        tracing::warn!(bucket, key, %error, "an upload in parts that failed could not be taken away; a lifecycle rule should");
    }
}
